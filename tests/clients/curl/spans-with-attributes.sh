#!/bin/sh
# Spans of two services in one trace, with attributes and numbers as JSON has them.
set -eu

TRACE_ID="$(openssl rand -hex 16)"
PARENT_SPAN_ID="$(openssl rand -hex 8)"
NOW="$(date +%s%N)"

curl --silent --show-error --fail-with-body -X POST "$ENDPOINT/v1/traces" \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer $SOURCE_TOKEN" \
  --data-binary "{
    \"resourceSpans\": [
      {
        \"resource\": {
          \"attributes\": [
            { \"key\": \"service.name\", \"value\": { \"stringValue\": \"shop\" } },
            { \"key\": \"service.version\", \"value\": { \"stringValue\": \"1.4.2\" } }
          ]
        },
        \"scopeSpans\": [
          {
            \"scope\": { \"name\": \"http\", \"version\": \"1.0\" },
            \"spans\": [
              {
                \"traceId\": \"$TRACE_ID\",
                \"spanId\": \"$PARENT_SPAN_ID\",
                \"name\": \"GET /checkout\",
                \"kind\": 2,
                \"startTimeUnixNano\": $NOW,
                \"endTimeUnixNano\": $((NOW + 150000000)),
                \"attributes\": [
                  { \"key\": \"http.method\", \"value\": { \"stringValue\": \"GET\" } },
                  { \"key\": \"http.status_code\", \"value\": { \"intValue\": 200 } },
                  { \"key\": \"sampled\", \"value\": { \"boolValue\": true } },
                  { \"key\": \"ratio\", \"value\": { \"doubleValue\": 0.5 } }
                ],
                \"status\": { \"code\": 1 }
              }
            ]
          }
        ]
      },
      {
        \"resource\": {
          \"attributes\": [
            { \"key\": \"service.name\", \"value\": { \"stringValue\": \"database\" } }
          ]
        },
        \"scopeSpans\": [
          {
            \"spans\": [
              {
                \"traceId\": \"$TRACE_ID\",
                \"spanId\": \"$(openssl rand -hex 8)\",
                \"parentSpanId\": \"$PARENT_SPAN_ID\",
                \"name\": \"SELECT\",
                \"kind\": 3,
                \"startTimeUnixNano\": $((NOW + 10000000)),
                \"endTimeUnixNano\": $((NOW + 40000000)),
                \"attributes\": [
                  { \"key\": \"db.rows\", \"value\": { \"intValue\": \"17\" } }
                ]
              }
            ]
          }
        ]
      }
    ]
  }"
