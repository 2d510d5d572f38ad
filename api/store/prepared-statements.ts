import { fillPlaceholders, type SQL } from 'drizzle-orm';
import { PgDialect } from 'drizzle-orm/pg-core';
import type postgres from 'postgres';

/** One that is ready to be sent. */
export interface Statement {
  text: string;
  parameters: postgres.ParameterOrJSON<never>[];
}

/** Writes a statement with placeholders once; what is answered fills them in. */
export function writeStatement<V extends Record<string, unknown>>(statement: SQL): (values: V) => Statement {
  const { sql: text, params } = new PgDialect().sqlToQuery(statement);
  return (values) => ({
    text,
    parameters: fillPlaceholders(params, values) as postgres.ParameterOrJSON<never>[],
  });
}

/** Texts with more parameters (long lists) are hardly ever sent twice: they would only fill the server's memory. */
const MAX_PARAMETERS = 48;

/**
 * A driver that keeps its statements on the server. drizzle asks for unnamed ones, and the driver then has to exchange
 * two messages a query and cannot send the next before the first is answered.
 */
export function keepStatements<S extends postgres.Sql | postgres.TransactionSql>(sql: S): S {
  const kept = {
    unsafe: (text: string, parameters: postgres.ParameterOrJSON<never>[] = []) =>
      sql.unsafe(text, parameters, { prepare: parameters.length <= MAX_PARAMETERS }),
    begin: (work: (tx: postgres.TransactionSql) => unknown) =>
      (sql as postgres.Sql).begin((tx) => work(keepStatements(tx))),
    savepoint: (work: (tx: postgres.TransactionSql) => unknown) =>
      (sql as postgres.TransactionSql).savepoint((tx) => work(keepStatements(tx))),
  };
  return new Proxy(sql, {
    get: (target, name) => (name in kept ? kept[name as keyof typeof kept] : Reflect.get(target, name)),
  });
}
