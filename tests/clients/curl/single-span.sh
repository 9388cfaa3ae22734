#!/bin/sh
# A span with as little as there may be, of the shape that Better Stack documents.
set -eu

curl --silent --show-error --fail-with-body -X POST "$ENDPOINT/v1/traces" \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer $SOURCE_TOKEN" \
  --data-binary "{
    \"resourceSpans\": [
      {
        \"resource\": {
          \"attributes\": [
            { \"key\": \"service.name\", \"value\": { \"stringValue\": \"minimal\" } }
          ]
        },
        \"scopeSpans\": [
          {
            \"spans\": [
              {
                \"traceId\": \"$(openssl rand -hex 16)\",
                \"spanId\": \"$(openssl rand -hex 8)\",
                \"name\": \"alone\",
                \"startTimeUnixNano\": \"$(date +%s%N)\",
                \"endTimeUnixNano\": \"$(($(date +%s%N) + 1000000))\"
              }
            ]
          }
        ]
      }
    ]
  }"
