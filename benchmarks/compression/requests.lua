-- Requests of wrk with the codings of BENCH_ACCEPT, and the tag of BENCH_TAG if it is set.
wrk.headers["accept-encoding"] = os.getenv("BENCH_ACCEPT")
if os.getenv("BENCH_TAG") ~= "" then
  wrk.headers["if-none-match"] = os.getenv("BENCH_TAG")
end
