// What `prisma migrate` needs beyond @prisma/adapter-pg to behave with the WASM engine as it does with the native one.
import { PrismaPg } from '@prisma/adapter-pg';

// The engine races its advisory lock against a timer of 10 s and never cancels it, so the CLI would linger that long
// after its work. A query in flight keeps the process alive by itself, so no timer of the CLI has to.
const { setTimeout: schedule } = globalThis;
globalThis.setTimeout = Object.assign((...args) => schedule(...args).unref(), schedule);

const STARTED = 'INSERT INTO "_prisma_migrations"';
const FINISHED = 'UPDATE "_prisma_migrations" SET "finished_at"';

let running = null;
let stopping = false;

function stop() {
  console.error('Stopped by SIGTERM; migrations that were not started stay pending.');
  process.exit(143);
}

// As process 1 of a container, Node.js would ignore the signal. A migration that has begun is finished and recorded.
process.on('SIGTERM', () => {
  stopping = true;
  if (running === null) stop();
});

/** Prints a failed migration as the native engine does; the WASM engine leaves out the code P3018. */
function reportFailedMigration(name, error) {
  console.error(
    [
      'Error: P3018',
      'A migration failed to apply. New migrations cannot be applied before the error is recovered from.',
      `Migration name: ${name}`,
      `Database error code: ${error.code ?? 'none'}`,
      `Database error:\n${error.severity ?? 'ERROR'}: ${error.message}`,
    ].join('\n\n'),
  );
}

/** Prints why the database can not be reached, where the WASM engine would only say "External error". */
function reportUnreachable(error) {
  console.error(`Error: P1001\n\nCan't reach database server: ${error.code ?? error.message}`);
}

/** One connection, because the advisory lock belongs to a session; scripts run whole, because splitting them at
 * semicolons (as the adapter does) breaks function bodies and gives up the transaction around the script. */
export class MigrationAdapter extends PrismaPg {
  constructor(connectionString) {
    super({ connectionString, max: 1, allowExitOnIdle: true, connectionTimeoutMillis: 10_000 });
  }

  async connect() {
    const adapter = await super.connect();
    const pool = adapter.underlyingDriver();
    await pool.query('SELECT 1').catch((error) => {
      if (!error.severity) reportUnreachable(error);
      adapter.onError(error);
    });

    const queryRaw = adapter.queryRaw.bind(adapter);
    adapter.queryRaw = async (query) => {
      if (query.sql.startsWith(STARTED)) running = query.args.at(-1);
      const result = await queryRaw(query);
      if (query.sql.startsWith(FINISHED)) {
        running = null;
        if (stopping) stop();
      }
      return result;
    };
    adapter.executeScript = async (script) => {
      try {
        await pool.query(script);
      } catch (error) {
        if (running !== null) reportFailedMigration(running, error);
        adapter.onError(error);
      }
    };
    return adapter;
  }
}
