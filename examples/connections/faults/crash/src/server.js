import { log } from './log.js';

log('error', 'can not start', { reason: 'BADGE_SERVICE_URL is not set' });
process.exit(1);
