# Many rows in one transaction, with an index.
# ROOT setup|run FOLDER
PATH=/usr/local/bin:/usr/bin:/bin
busybox=${1}bin/busybox
if [ "$2" = setup ]; then
    $busybox awk 'BEGIN {
        print "CREATE TABLE t(a INTEGER, b TEXT); CREATE INDEX i ON t(a); BEGIN;"
        for (n = 0; n < 100000; n++) printf "INSERT INTO t VALUES(%d, \"row %d\");\n", n * 7919 % 100003, n
        print "COMMIT; SELECT count(*) FROM t;"
    }' >"$3/rows.sql"
else
    $busybox rm -f "$3/rows.db"
    [ "$(sqlite3 "$3/rows.db" <"$3/rows.sql")" = 100000 ]
fi
