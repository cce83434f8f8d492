// Drizzle's part of `node_task.js`: which migrations the image's journal names, and what Drizzle's table says.
'use strict';
let journal = [];

function inImage() {
  const path = join(task.directory, 'meta', '_journal.json');
  if (!existsSync(path)) return null;
  journal = JSON.parse(readFileSync(path)).entries;
  const file = (entry) => join(task.directory, `${entry.tag}.sql`);
  const there = journal.filter((entry) => existsSync(file(entry)));
  return there.map((entry) => [entry.tag, sha256(readFileSync(file(entry)).toString())]).sort();
}

const loaded = (name) => require(require.resolve(name, { paths: [process.cwd()] }));

// Whichever driver the image has, since Drizzle needs one.
async function connected(url) {
  let Client;
  try {
    ({ Client } = loaded('pg'));
  } catch {
    const sql = loaded('postgres')(url, { max: 1, connect_timeout: 5, onnotice: () => {} });
    return { query: (text) => sql.unsafe(text), end: () => sql.end({ timeout: 5 }) };
  }
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5000, query_timeout: 20000 });
  client.on('error', () => {});
  await client.connect();
  return { query: async (text) => (await client.query(text)).rows, end: () => client.end() };
}

async function inTable(name) {
  const table = task.table_name.split('.').map((part) => `"${part}"`).join('.');
  const database = await connected(process.env[task.variable]);
  let rows = null;
  try {
    const [{ there }] = await database.query(`SELECT to_regclass('${table}') IS NOT NULL AS there`);
    if (there) rows = await database.query(`SELECT hash, created_at::text AS at FROM ${table} ORDER BY created_at, id`);
  } finally {
    await database.end();
  }
  const tag = (row) => journal.find((entry) => String(entry.when) === row.at)?.tag ?? `at-${row.at}`;
  const found = rows && [...rows].map((row) => [tag(row), row.hash, true, false]);
  sayRows(name, found && found.map((row) => [...row, null]));
  return found;
}
