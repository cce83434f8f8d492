import { createConnection, listConnections, readConnection } from './connections.js';
import { createFollowUp, listFollowUps } from './follow-ups.js';
import { healthz, readyz } from './health.js';

/** Path pattern → method → handler; a handler gets { database, release, params, query, body }. */
export const routes = {
  '/healthz': { GET: healthz },
  '/readyz': { GET: ({ database }) => readyz(database) },
  '/version': { GET: ({ release }) => ({ status: 200, body: release }) },
  '/connections': { GET: listConnections, POST: createConnection },
  '/connections/:id': { GET: readConnection },
  '/connections/:id/follow-ups': { POST: createFollowUp },
  '/follow-ups': { GET: listFollowUps },
};
