// The handler on Fastify with OpenTelemetry, fastify-metrics and its pino log.
"use strict";

const { NodeSDK } = require("@opentelemetry/sdk-node");
const { BatchSpanProcessor } = require("@opentelemetry/sdk-node").tracing;
const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-proto");
const { HttpInstrumentation } = require("@opentelemetry/instrumentation-http");
const { FastifyOtelInstrumentation } = require("@fastify/otel");

const exporter = new OTLPTraceExporter({ url: `${process.env.OTEL_EXPORTER_OTLP_ENDPOINT}/v1/traces` });
const fastifyInstrumentation = new FastifyOtelInstrumentation({ registerOnInitialization: true });
const sdk = new NodeSDK({
  spanProcessors: [new BatchSpanProcessor(exporter, { maxQueueSize: 100000, scheduledDelayMillis: 500 })],
  instrumentations: [new HttpInstrumentation(), fastifyInstrumentation],
});
sdk.start();

const app = require("fastify")({ logger: true });

async function main() {
  await app.register(require("fastify-metrics"), { endpoint: "/metrics" });
  app.get("/items/:id", async (request) => ({ id: Number(request.params.id) }));
  await app.listen({ host: "127.0.0.1", port: Number(process.env.PORT) });
}

process.on("SIGTERM", () => app.close().then(() => sdk.shutdown()).then(() => process.exit(0)));
main();
