# Somebody signs up, and in.
EMAIL="ada-$(date +%s)@example.com" PASSWORD="seven quiet lighthouses"
curl -sS --fail-with-body "$ACCOUNTS/api/users" -d "{\"email\": \"$EMAIL\", \"password\": \"$PASSWORD\"}"

TOKEN=$(curl -sS --fail-with-body "$ACCOUNTS/api/auth/token" \
  -d "{\"email\": \"$EMAIL\", \"password\": \"$PASSWORD\"}" | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
curl -sS --fail-with-body "$ACCOUNTS/api/users/me" -H "Authorization: Bearer $TOKEN"

# An order: orders asks accounts whether the user is still active, and both are in one trace.
TRACE=$(printf '%032x' "$(date +%s)")
curl -sS --fail-with-body -i "$ORDERS/api/orders" -H "Authorization: Bearer $TOKEN" \
  -H "Idempotency-Key: tour-$TRACE" \
  -H "traceparent: 00-$TRACE-00f067aa0ba902b7-01" -H "X-Request-ID: tour-$TRACE" \
  -d '{"product_type": "oak-plank", "quantity": 12}'

# Sent again with its key, it is answered alike and placed once.
curl -sS --fail-with-body "$ORDERS/api/orders" -H "Authorization: Bearer $TOKEN" \
  -H "Idempotency-Key: tour-$TRACE" -d '{"product_type": "oak-plank", "quantity": 12}'

# What is listed, changed only if nobody else changed it, and cancelled.
curl -sS --fail-with-body "$ORDERS/api/orders?limit=1" -H "Authorization: Bearer $TOKEN"
ORDER=$(curl -sS "$ORDERS/api/orders?limit=1" -H "Authorization: Bearer $TOKEN" | sed 's/.*"id":"\([^"]*\)".*/\1/')

curl -sS --fail-with-body -X PATCH "$ORDERS/api/orders/$ORDER" -H "Authorization: Bearer $TOKEN" \
  -H 'If-Match: "1"' -d '{"quantity": 13}'

curl -sS --fail-with-body -X POST "$ORDERS/api/orders/$ORDER/cancel" -H "Authorization: Bearer $TOKEN"

# The events that a client which came back would have missed.
curl -sN "$ORDERS/api/orders/events" -H "Authorization: Bearer $TOKEN" -H "Last-Event-ID: none" | head -n 9

# Bad input gets a clear error.
curl -sS -i "$ORDERS/api/orders" -H "Authorization: Bearer $TOKEN" -H "Idempotency-Key: tour-bad-$TRACE" \
  -d '{"product_type": "oak-plank", "quantity": "many"}'

# What was counted.
curl -sS --fail-with-body "$ORDERS_ADMIN/metrics" | grep '^orders_created_total'

# One trace in the logs of both services.
grep -h "$TRACE" .data/logs/accounts.log .data/logs/orders.log
