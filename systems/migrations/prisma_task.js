// Runs inside the candidate's image: says which migrations the image holds and what the database's table says, and
// migrates only where both are exactly as expected. Every judgement is made by whoever reads what is said here.
'use strict';
const { spawn } = require('node:child_process');
const { createHash } = require('node:crypto');
const { existsSync, readdirSync, readFileSync } = require('node:fs');
const { join } = require('node:path');

const task = JSON.parse(process.env.POINTSMAN_TASK);
delete process.env.POINTSMAN_TASK;
const QUERY =
  'SELECT migration_name, checksum, finished_at IS NOT NULL AS finished, rolled_back_at IS NOT NULL AS undone, ' +
  'left(logs, 600) AS log FROM "_prisma_migrations" ORDER BY migration_name, started_at';
// The CLI returns no rows, but it prints a database's error; hexadecimal, since it may wrap or colour its output.
const BY_ERROR = `DO $pointsman$ DECLARE found text := 'null'; BEGIN
  IF to_regclass('"_prisma_migrations"') IS NOT NULL THEN
    EXECUTE 'SELECT coalesce(json_agg(t), ''[]'')::text FROM (${QUERY}) t' INTO found;
  END IF;
  RAISE EXCEPTION 'pointsman:%:', encode(convert_to(found, 'UTF8'), 'hex');
END $pointsman$`;

let child = null;
let stopped = false;
for (const signal of ['SIGTERM', 'SIGINT'])
  process.on(signal, () => {
    stopped = true;
    if (child) child.kill(signal);
    else process.exit(143);
  });

const sha256 = (data) => createHash('sha256').update(data).digest('hex');
const say = (fact) => console.log(`${task.mark} ${JSON.stringify(fact)}`);
const sayRows = (name, rows) => {
  if (!rows || !rows.length) say({ [name]: rows });
  // A container's log is cut into pieces of 16 KiB.
  for (let i = 0; rows && i < rows.length; i += 8) say({ [name]: rows.slice(i, i + 8) });
};

function run([command, ...args], input) {
  return new Promise((resolve) => {
    let output = '';
    child = spawn(command, args, { stdio: input === undefined ? 'inherit' : 'pipe' });
    child.on('error', (error) => resolve({ code: 127, output: String(error) }));
    child.on('close', (code, signal) => {
      child = null;
      resolve({ code: signal ? 128 : code, output });
    });
    if (input === undefined) return;
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}

function inImage() {
  if (!existsSync(task.directory)) return null;
  const names = readdirSync(task.directory).filter((name) => existsSync(join(task.directory, name, 'migration.sql')));
  return names.sort().map((name) => [name, sha256(readFileSync(join(task.directory, name, 'migration.sql')))]);
}

async function byDriver() {
  const { Client } = require(require.resolve('pg', { paths: [process.cwd()] }));
  const url = new URL(process.env[task.variable]);
  const schema = url.searchParams.get('schema') ?? 'public';
  url.searchParams.delete('schema');
  const client = new Client({ connectionString: url.href, connectionTimeoutMillis: 5000, query_timeout: 20000 });
  client.on('error', () => {});
  await client.connect();
  try {
    await client.query(`SET search_path TO "${schema.replaceAll('"', '""')}"`);
    const there = await client.query(`SELECT to_regclass('"_prisma_migrations"') AS t`);
    return there.rows[0].t === null ? null : (await client.query(QUERY)).rows;
  } finally {
    await client.end();
  }
}

async function byTool() {
  let said = '';
  // Before its version 7 the tool has to be told the schema, and from then on it refuses to be told.
  const beside = join(task.directory, '..', 'schema.prisma');
  const usual = [beside, 'prisma/schema.prisma', 'schema.prisma', 'prisma/schema', 'prisma'];
  const schemas = usual.filter((path) => existsSync(path));
  const given = task.options.some((word) => word.startsWith('--schema'));
  const ways = given ? [task.options] : schemas.slice(0, 1).map((path) => [...task.options, '--schema', path]);
  for (const options of [...ways, given ? [] : task.options]) {
    const done = await run([...task.tool, 'db', 'execute', '--stdin', ...options], BY_ERROR);
    const found = /pointsman:([0-9a-f]+):/.exec(done.output);
    if (found) return JSON.parse(Buffer.from(found[1], 'hex').toString());
    if (/\bP1003\b/.test(done.output)) return null; // no such database yet; the tool makes it
    said = done.output;
    if (stopped || done.code === 127 || /\bP\d{4}\b/.test(said)) break;
  }
  throw new Error(said.slice(-1500));
}

async function inTable(name) {
  const rows = await byDriver().catch(byTool);
  const found = rows && rows.map((r) => [r.migration_name, r.checksum, r.finished, r.undone, r.log]);
  sayRows(name, found);
  return found && found.map((row) => row.slice(0, 4));
}

async function main() {
  const image = inImage();
  sayRows('image', image);
  const table = await inTable('before');
  const asExpected = sha256(JSON.stringify(image)) === task.image && sha256(JSON.stringify(table)) === task.table;
  const held = new Map(image);
  const agrees = (row) => row[3] || (row[2] && held.get(row[0]) === row[1]);
  if (!asExpected || stopped || !(task.judged || (table ?? []).every(agrees))) return 0;
  say({ migrating: true });
  const { code } = await run(task.command);
  await inTable('after');
  return stopped ? 143 : code;
}

main()
  .catch((error) => {
    say({ unreadable: String(error.message ?? error) });
    return 1;
  })
  .then((code) => {
    say({ end: code });
    process.exitCode = code;
  });
