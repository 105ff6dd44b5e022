// A program on Node.js with OpenTelemetry's own SDK.
"use strict";
const { NodeSDK } = require("@opentelemetry/sdk-node");
const { HttpInstrumentation } = require("@opentelemetry/instrumentation-http");
const { logs } = require("@opentelemetry/api-logs");
const { metrics } = require("@opentelemetry/api");

new NodeSDK({ instrumentations: [new HttpInstrumentation()] }).start();
const log = logs.getLogger("shop");
const reads = metrics.getMeter("shop").createCounter("item_reads");
require("node:http").createServer((request, response) => {
  log.emit({ severityNumber: 13, body: "item was read" });
  reads.add(1);
  response.end(JSON.stringify({ path: request.url }));
}).listen(Number(process.env.PORT), "127.0.0.1");
