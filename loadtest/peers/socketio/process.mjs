// What the server and the worker share: their settings, the tables, and /metrics.

import Database from 'better-sqlite3';

export const LOG = 'messages';

export const settings = JSON.parse(process.argv[2]);

// Opens the database. WAL and NORMAL are what its own documentation recommends for servers.
export function openDatabase() {
  const database = new Database(settings.database);
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = NORMAL');
  database.pragma('busy_timeout = 5000');
  return database;
}

// The page of /metrics, with what else is told.
export function metrics(more = {}) {
  const { user, system } = process.cpuUsage();
  const lines = {
    process_cpu_seconds_total: (user + system) / 1e6,
    process_resident_memory_bytes: process.memoryUsage.rss(),
    ...more,
  };
  return Object.entries(lines)
    .map(([name, value]) => `${name} ${value}\n`)
    .join('');
}

// Ends this process when the one that started it is gone.
export function endWithParent(last = async () => {}) {
  process.stdin.on('end', () => last().finally(() => process.exit(0))).resume();
}
