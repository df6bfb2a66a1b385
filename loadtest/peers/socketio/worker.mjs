// The worker of the peer: reads the log and writes it to SQLite, each batch and its position in one transaction, so that every
// entry is there once. What is written is trimmed from the log.

import { createServer } from 'node:http';
import { createClient } from 'redis';
import { LOG, endWithParent, metrics, openDatabase, settings } from './process.mjs';

const BATCH_MAX = 1_000;
const BLOCK_MS = 1_000;
// After a batch that was not full it waits so long, so that the next one is worth a transaction.
const GATHER_MS = 50;
const TRIM_EVERY_MS = 1_000;

const database = openDatabase();
database.exec(`
  CREATE TABLE IF NOT EXISTS members (conversation TEXT NOT NULL, user TEXT NOT NULL, PRIMARY KEY (conversation, user)) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS members_by_user ON members (user);
  CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL, conversation TEXT NOT NULL, source TEXT NOT NULL, text TEXT NOT NULL, at INTEGER NOT NULL
  );
  CREATE INDEX IF NOT EXISTS messages_by_conversation ON messages (conversation, number);
  CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL, applied INTEGER NOT NULL);
  INSERT OR IGNORE INTO position VALUES (1, '0', 0);
`);
const insert = database.prepare('INSERT INTO messages (id, conversation, source, text, at) VALUES (?, ?, ?, ?, ?)');
const move = database.prepare('UPDATE position SET id = ?, applied = ?');
let { id: last, applied } = database.prepare('SELECT id, applied FROM position').get();

const apply = database.transaction((entries) => {
  for (const { id, message } of entries) {
    insert.run(id, message.conversation, message.source, message.text, Number(message.at));
  }
  move.run(entries.at(-1).id, applied + entries.length);
});

const redis = createClient({ url: settings.redis });
redis.on('error', (error) => console.error(error.message));
await redis.connect();
// Reading blocks a connection, so it has one of its own.
const reader = redis.duplicate();
reader.on('error', (error) => console.error(error.message));
await reader.connect();

async function work() {
  let trimmed = Date.now();
  for (;;) {
    const read = await reader.xRead({ key: LOG, id: last }, { COUNT: BATCH_MAX, BLOCK: BLOCK_MS });
    const entries = read?.[0].messages ?? [];
    if (entries.length > 0) {
      apply(entries);
      last = entries.at(-1).id;
      applied += entries.length;
    }
    if (Date.now() - trimmed > TRIM_EVERY_MS) {
      trimmed = Date.now();
      await redis.xTrim(LOG, 'MINID', last, { strategyModifier: '~' });
    }
    if (entries.length > 0 && entries.length < BATCH_MAX) {
      await new Promise((resolve) => setTimeout(resolve, GATHER_MS));
    }
  }
}

// Entries that were ever appended.
async function appended() {
  if ((await redis.exists(LOG)) === 0) return 0;
  return (await redis.xInfoStream(LOG))['entries-added'];
}

const http = createServer(async (_, response) => {
  const lag = (await appended()) - applied;
  response.end(metrics({ peer_lag_records: lag, peer_applied_records: applied }));
});

process.on('SIGTERM', () => process.exit(0));
// Redis does not see that the process which started it is gone.
endWithParent(() => redis.sendCommand(['SHUTDOWN', 'NOSAVE']).catch(() => {}));
http.listen(settings.port, '127.0.0.1');
work().catch((error) => {
  console.error(error);
  process.exit(1);
});
