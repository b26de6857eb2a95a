/* Queries with aggregates, windows, joins and text search on databases in memory.
 *
 * object: libsqlite3.so.0*
 * link: -lsqlite3
 */
#include "driver.h"

#include <sqlite3.h>
#include <stdlib.h>

static const char made[] =
    "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c REAL);"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)"
    " INSERT INTO t SELECT i, 'name ' || (i % 7), i * 1.5 FROM n;"
    "CREATE INDEX x ON t(b); CREATE VIEW v AS SELECT b, count(*) AS k FROM t GROUP BY b;";

static const struct {
    const char *text;
    int answer;
} queries[] = {
    {"SELECT count(*) + sum(a) FROM t", 1890},
    {"SELECT max(k) FROM v", 9},
    {"SELECT count(DISTINCT b) + total(c) * 0 FROM t WHERE c > avg_of() OR a IN (SELECT min(a) "
     "FROM t GROUP BY b)",
     7},
    {"SELECT sum(s) FROM (SELECT sum(a) OVER (PARTITION BY b ORDER BY a) AS s FROM t) WHERE s < 20",
     112},
    {"SELECT (SELECT count(*) FROM t AS u WHERE u.b = t.b HAVING max(u.a) > min(t.a)) FROM t LIMIT "
     "1",
     9},
    {"SELECT group_concat(b) LIKE 'name%' FROM t ORDER BY sum(c)", 1},
};

static void average(sqlite3_context *context, int count, sqlite3_value **values) {
    (void)count, (void)values;
    sqlite3_result_double(context, 45.0);
}

static int ask(sqlite3 *database, const char *text) {
    sqlite3_stmt *statement = NULL;
    int answer = -1;
    if (!sqlite3_prepare_v2(database, text, -1, &statement, NULL) &&
        sqlite3_step(statement) == SQLITE_ROW)
        answer = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return answer;
}

void exercise(void) {
    sqlite3 *database = NULL;
    sqlite3_open(":memory:", &database);
    sqlite3_create_function(database, "avg_of", 0, SQLITE_UTF8, NULL, average, NULL, NULL);
    if (sqlite3_exec(database, made, NULL, NULL, NULL)) driver_fail("%s", sqlite3_errmsg(database));
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        int answer = ask(database, queries[i].text);
        if (answer != queries[i].answer)
            driver_fail("query %zu: %d %s", i, answer, sqlite3_errmsg(database));
    }
    ask(database, "SELECT no_such(a) FROM t GROUP BY");
    sqlite3_close(database);
}
