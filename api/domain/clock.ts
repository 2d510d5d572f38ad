/** The one source of time. In production it is the database's, so that replicas with bad clocks agree. */
export interface Clock {
  now(): Date;
}
