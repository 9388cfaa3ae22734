#!/bin/sh
# A span that failed, with the events on its way there.
set -eu

NOW="$(date +%s%N)"

curl --silent --show-error --fail-with-body -X POST "$ENDPOINT/v1/traces" \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer $SOURCE_TOKEN" \
  --data-binary "{
    \"resourceSpans\": [
      {
        \"resource\": {
          \"attributes\": [
            { \"key\": \"service.name\", \"value\": { \"stringValue\": \"payments\" } }
          ]
        },
        \"scopeSpans\": [
          {
            \"spans\": [
              {
                \"traceId\": \"$(openssl rand -hex 16)\",
                \"spanId\": \"$(openssl rand -hex 8)\",
                \"name\": \"charge\",
                \"kind\": 1,
                \"startTimeUnixNano\": \"$NOW\",
                \"endTimeUnixNano\": \"$((NOW + 5000000))\",
                \"events\": [
                  {
                    \"timeUnixNano\": \"$((NOW + 1000000))\",
                    \"name\": \"attempt\",
                    \"attributes\": [
                      { \"key\": \"attempt\", \"value\": { \"intValue\": 1 } }
                    ]
                  },
                  {
                    \"timeUnixNano\": $((NOW + 2000000)),
                    \"name\": \"exception\",
                    \"attributes\": [
                      { \"key\": \"exception.message\", \"value\": { \"stringValue\": \"card declined\" } }
                    ]
                  }
                ],
                \"status\": { \"code\": 2, \"message\": \"declined\" }
              }
            ]
          }
        ]
      }
    ]
  }"
