// A webhook receiver with Express. Copy one of its two routes.
//
//     npm install --prefix examples
//     WEBHOOK_SECRET=whsec_... PORT=4242 node examples/express_receiver.mjs
//
// An event may arrive more than once, with the same webhook-id: remember in your database which ones you have handled.

import { createHmac, timingSafeEqual } from "node:crypto";
import express from "express";
import { Webhook } from "standardwebhooks";

const secret = process.env.WEBHOOK_SECRET;
if (!secret) throw new Error("WEBHOOK_SECRET is not set");
const app = express();

// The signature is of the bytes as they came: what express.json() makes of them could not be verified any more.
app.use(express.raw({ type: () => true, limit: "1mb" }));

// By the library of Standard Webhooks. It checks the time, too, so that nobody can send an old message again.
app.post("/standard", (request, response) => {
  let event;
  try {
    event = new Webhook(secret).verify(request.body, request.headers);
  } catch {
    return response.status(401).send("Invalid webhook signature");
  }
  handle(event);
  response.sendStatus(204);
});

// By X-Signature, with nothing but Node.
app.post("/plain", (request, response) => {
  const expected = Buffer.from(createHmac("sha256", secret).update(request.body ?? "").digest("hex"));
  const given = Buffer.from(request.get("X-Signature") ?? "");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    return response.status(401).send("Invalid webhook signature");
  }
  handle(JSON.parse(request.body));
  response.sendStatus(204);
});

// Your own code. Keep it short, or do the work afterwards: the sender waits 15 seconds for the answer.
function handle(event) {
  console.log(`${event.event}: ${event.data.id}`);
}

app.listen(Number(process.env.PORT ?? 4242), "127.0.0.1");
