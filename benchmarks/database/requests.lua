-- Requests of wrk: BENCH_OPERATION is read, write or write_once; BENCH_RUN makes keys unique.
local operation = os.getenv("BENCH_OPERATION")
local run = os.getenv("BENCH_RUN")
local sent = 0

wrk.headers["content-type"] = "application/json"

request = function()
  sent = sent + 1
  if operation == "read" then
    return wrk.format("GET", "/notes/" .. (sent % 1000 + 1))
  end
  local body = '{"title": "note ' .. sent .. '"}'
  if operation == "write" then
    return wrk.format("POST", "/notes", nil, body)
  end
  wrk.headers["idempotency-key"] = run .. "-" .. sent
  return wrk.format("POST", "/notes/once", nil, body)
end
