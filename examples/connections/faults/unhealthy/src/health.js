/** Broken on purpose: the load balancer's health check fails, everything else works. */
export function healthz() {
  return { status: 500, body: { status: 'failing' } };
}

export function readyz() {
  return { status: 200, body: { status: 'ready' } };
}
