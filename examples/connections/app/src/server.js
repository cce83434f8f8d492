import { createApp } from './app.js';
import { readConfig } from './config.js';
import { openDatabase } from './database.js';
import { log } from './log.js';

/** Stops accepting, lets open requests finish, closes the pool; a second signal or the deadline ends it at once. */
function stopOn(signals, server, database, timeoutMs) {
  let stopping = false;
  for (const signal of signals) {
    process.on(signal, () => {
      if (stopping) process.exit(1);
      stopping = true;
      log('info', 'stopping', { signal });
      setTimeout(() => {
        log('error', 'requests still open at the deadline', { timeout_ms: timeoutMs });
        process.exit(1);
      }, timeoutMs).unref();
      server.close(async () => {
        await database.$disconnect();
        log('info', 'stopped');
        process.exit(0);
      });
      server.closeIdleConnections();
    });
  }
}

function main() {
  const config = readConfig();
  const database = openDatabase(config);
  const server = createApp({ database, release: config.release });
  stopOn(['SIGTERM', 'SIGINT'], server, database, config.shutdownTimeoutMs);
  server.on('error', (error) => {
    log('error', 'server failed', { reason: error.message });
    process.exit(1);
  });
  server.listen(config.port, () => log('info', 'listening', { port: config.port, ...config.release }));
}

try {
  main();
} catch (error) {
  log('error', 'can not start', { reason: error.message });
  process.exitCode = 1;
}
