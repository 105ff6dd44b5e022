// Items on Fastify with its own plugins: cors, helmet, jwt, swagger; metrics by fastify-metrics.
"use strict";

const app = require("fastify")({ logger: true });
const items = [];
const item = {
  type: "object",
  required: ["name", "quantity"],
  properties: { name: { type: "string" }, quantity: { type: "integer", minimum: 1 } },
};

async function main() {
  await app.register(require("@fastify/helmet"));
  await app.register(require("@fastify/cors"), { origin: [process.env.ORIGIN] });
  await app.register(require("@fastify/jwt"), {
    secret: process.env.JWT_SECRET,
    verify: { algorithms: ["HS256"], allowedAud: "shop" },
  });
  await app.register(require("@fastify/swagger"));
  await app.register(require("@fastify/swagger-ui"), { routePrefix: "/documentation" });
  await app.register(require("fastify-metrics"), { endpoint: "/metrics" });
  const onRequest = (request) => request.jwtVerify();
  app.get("/health", async () => ({ status: "ok" }));
  app.get("/items", { onRequest }, async () => items);
  app.post("/items", { onRequest, schema: { body: item } }, async (request, reply) => {
    items.push(request.body);
    return reply.code(201).send(request.body);
  });
  const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000, "done"));
  app.get("/slow", () => wait(2));
  app.get("/endless", () => wait(3600));
  app.get("/error", async () => {
    throw new Error("a fault of the program");
  });
  await app.listen({ host: "127.0.0.1", port: Number(process.env.PORT) });
}

process.on("SIGTERM", () => app.close().then(() => process.exit(0)));
main();
