// Prisma's part of `node_task.js`: which migrations the image holds, and what `_prisma_migrations` says.
'use strict';
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
  // Of several files it is told the folder, in which the datasource lies beside the migrations.
  const above = join(task.directory, '..');
  const hasSchema = (path) => existsSync(path) && readdirSync(path).some((name) => name.endsWith('.prisma'));
  const folders = [above, join(above, 'schema')].filter(hasSchema);
  const usual = ['prisma/schema.prisma', 'schema.prisma', 'prisma/schema', 'prisma'];
  const schemas = [join(above, 'schema.prisma'), ...folders, ...usual].filter((path) => existsSync(path));
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
