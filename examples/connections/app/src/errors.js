/** An answer that is not a success: HTTP status, stable code, a sentence for people, and the fields at fault. */
export class HttpError extends Error {
  constructor(status, code, message, fields) {
    super(message);
    this.status = status;
    this.code = code;
    this.fields = fields;
  }

  toJSON() {
    return { error: { code: this.code, message: this.message, ...(this.fields && { fields: this.fields }) } };
  }
}

/** Turns Prisma's error codes into answers; anything unknown stays a 500 whose details only the log has. */
export function toHttpError(error) {
  if (error instanceof HttpError) return error;
  switch (error.code) {
    case 'P2002':
      return new HttpError(409, 'conflict', 'this person is already recorded for this event');
    case 'P2003':
    case 'P2025':
      return new HttpError(404, 'not_found', 'no such connection');
    case 'P1001':
    case 'P1002':
    case 'P2024':
    case 'ECONNREFUSED':
      return new HttpError(503, 'database_unavailable', 'the database can not be reached; try again');
    default:
      return new HttpError(500, 'internal', 'something went wrong; the log has the details');
  }
}
