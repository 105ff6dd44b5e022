# Register a user and sign in.
JSON="Content-Type: application/json"
EMAIL="ada-$(date +%s)@example.com" PASSWORD="seven quiet lighthouses"
curl -sS --fail-with-body "$ACCOUNTS/api/users" -H "$JSON" \
  -d "{\"email\": \"$EMAIL\", \"password\": \"$PASSWORD\"}"

TOKEN=$(curl -sS --fail-with-body "$ACCOUNTS/api/auth/token" -H "$JSON" \
  -d "{\"email\": \"$EMAIL\", \"password\": \"$PASSWORD\"}" | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
curl -sS --fail-with-body "$ACCOUNTS/api/users/me" -H "Authorization: Bearer $TOKEN"

# Place an order: orders calls accounts to check that the user is active, in the same trace.
TRACE=$(printf '%032x' "$(date +%s)")
curl -sS --fail-with-body -i "$ORDERS/api/orders" -H "Authorization: Bearer $TOKEN" \
  -H "Idempotency-Key: tour-$TRACE" \
  -H "traceparent: 00-$TRACE-00f067aa0ba902b7-01" -H "X-Request-ID: tour-$TRACE" \
  -H "$JSON" -d '{"product_type": "oak-plank", "quantity": 12}'

# Retry with the same idempotency key: the same response, and no second order.
curl -sS --fail-with-body "$ORDERS/api/orders" -H "Authorization: Bearer $TOKEN" \
  -H "Idempotency-Key: tour-$TRACE" -H "$JSON" -d '{"product_type": "oak-plank", "quantity": 12}'

# List the orders, change one if its version is still 1, and cancel it.
curl -sS --fail-with-body "$ORDERS/api/orders?limit=1" -H "Authorization: Bearer $TOKEN"
ORDER=$(curl -sS "$ORDERS/api/orders?limit=1" -H "Authorization: Bearer $TOKEN" | sed 's/.*"id":"\([^"]*\)".*/\1/')

curl -sS --fail-with-body -X PATCH "$ORDERS/api/orders/$ORDER" -H "Authorization: Bearer $TOKEN" \
  -H 'If-Match: "1"' -H "$JSON" -d '{"quantity": 13}'

curl -sS --fail-with-body -X POST "$ORDERS/api/orders/$ORDER/cancel" -H "Authorization: Bearer $TOKEN"

# Replay the events that a client missed while it was disconnected; the stream itself never ends.
curl -sN --max-time 1 "$ORDERS/api/orders/events" -H "Authorization: Bearer $TOKEN" -H "Last-Event-ID: 0" | head -n 15

# Invalid input gets a problem response that names the field.
curl -sS -i "$ORDERS/api/orders" -H "Authorization: Bearer $TOKEN" -H "Idempotency-Key: tour-bad-$TRACE" \
  -H "$JSON" -d '{"product_type": "oak-plank", "quantity": "many"}'

# A business metric on the admin port.
curl -sS --fail-with-body "$ORDERS_ADMIN/metrics" | grep '^orders_created_total'

# One trace in the logs of both services.
grep -h "$TRACE" .data/logs/accounts.log .data/logs/orders.log
