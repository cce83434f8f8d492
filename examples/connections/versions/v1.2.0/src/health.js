import { log } from './log.js';

/** Is the process alive? Asks nobody else, so that a database outage does not make the load balancer stop every task. */
export function healthz() {
  return { status: 200, body: { status: 'ok' } };
}

/** Can this version do its work? Reads from every table that it uses. */
export async function readyz(database) {
  try {
    await Promise.all([
      database.connection.findFirst({ select: { id: true } }),
      database.followUp.findFirst({ select: { id: true } }),
    ]);
    return { status: 200, body: { status: 'ready' } };
  } catch (error) {
    log('error', 'not ready', { code: error.code, reason: error.message.trim().split('\n').at(-1) });
    return { status: 503, body: { status: 'unavailable', code: error.code ?? 'unknown' } };
  }
}
