// Alice and bob talk: alice over REST with the types of openapi-typescript and fetch, bob over a WebSocket.
//
// Needs ROOKERY_URL, TOKEN_ALICE and TOKEN_BOB. docs/api.md, under Clients, says how `rookery.ts` is made.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import createClient from "openapi-fetch";
import WebSocket from "ws";
import type { components, paths } from "./rookery.js";

type ClientFrame = components["schemas"]["ClientFrame"];
type ServerFrame = components["schemas"]["ServerFrame"];
type FrameOf<T> = Extract<ServerFrame, { t: T }>;

const baseUrl = setting("ROOKERY_URL");
const DEADLINE_MS = 20_000;

function setting(name: string): string {
  const value = process.env[name];
  assert(value, `${name} is not set`);
  return value;
}

// What an answer brought; a problem says in its detail what to do.
function expect<T>(answer: { data?: T; error?: { detail: string } }): T {
  if (answer.data === undefined) throw new Error(answer.error?.detail ?? "no answer");
  return answer.data;
}

// One WebSocket. In a browser the same works with its own WebSocket; it cannot set headers, so the token is a subprotocol.
class Session {
  readonly #socket: WebSocket;
  readonly #frames: ServerFrame[] = [];
  #wake = () => {};

  constructor(token: string) {
    const url = `${baseUrl.replace(/^http/, "ws")}/v1/ws`;
    this.#socket = new WebSocket(url, ["rookery.v1", `rookery.bearer.${token}`]);
    this.#socket.on("message", (text) => {
      this.#frames.push(JSON.parse(text.toString()) as ServerFrame);
      this.#wake();
    });
  }

  send(frame: ClientFrame): void {
    this.#socket.send(JSON.stringify(frame));
  }

  // The next frame of this kind. Others are skipped, those of a newer server among them.
  async next<T extends ServerFrame["t"]>(kind: T): Promise<FrameOf<T>> {
    const deadline = Date.now() + DEADLINE_MS;
    for (;;) {
      for (let frame = this.#frames.shift(); frame; frame = this.#frames.shift()) {
        if (frame.t === "error") throw new Error(frame.problem.detail);
        if (frame.t === kind) return frame as FrameOf<T>;
      }
      const left = deadline - Date.now();
      assert(left > 0, `no ${kind} frame in time`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  close(): void {
    this.#socket.close();
  }
}

const headers = { Authorization: `Bearer ${setting("TOKEN_ALICE")}` };
const alice = createClient<paths>({ baseUrl, headers });
const bob = new Session(setting("TOKEN_BOB"));
await bob.next("ready");

const body = { participants: ["bob"], title: "TypeScript" };
const { name } = expect(await alice.POST("/v1/conversations", { body }));

// Under a key of its own a send may be repeated after any error: there will be one message.
const send = {
  params: { path: { name }, header: { "Idempotency-Key": randomUUID() } },
  body: { text: "noon?" },
};
const sent = expect(await alice.POST("/v1/conversations/{name}/messages", send));
const again = expect(await alice.POST("/v1/conversations/{name}/messages", send));
assert.equal(sent.id, again.id);

const received = await bob.next("message");
assert.deepEqual([received.id, received.source, received.text], [sent.id, "alice", "noon?"]);

bob.send({ t: "send", conversation: name, text: "noon.", reply_to: sent.id, ref: 1 });
assert.equal((await bob.next("ok")).ref, 1);
bob.close();

const history = expect(await alice.GET("/v1/conversations/{name}/messages", { params: { path: { name } } }));
const [newest, oldest] = history.items;
assert.deepEqual([newest?.text, oldest?.text, newest?.reply_to], ["noon.", "noon?", sent.id]);

const refused = await alice.GET("/v1/conversations/{name}", { params: { path: { name: "not-theirs" } } });
assert.equal(refused.response.status, 403);
assert.equal(refused.error?.code, "not_participant");
console.log(`seq ${newest?.seq}: ${newest?.text}`);
