# Many transactions.
# ROOT setup|run FOLDER
PATH=/usr/local/bin:/usr/bin:/bin
busybox=${1}bin/busybox
if [ "$2" = setup ]; then
    $busybox awk 'BEGIN {
        print "CREATE TABLE t(a INTEGER, b TEXT);"
        for (n = 0; n < 300; n++) printf "INSERT INTO t VALUES(%d, \"row %d\");\n", n, n
        print "SELECT count(*) FROM t;"
    }' >"$3/commits.sql"
else
    $busybox rm -f "$3/commits.db"
    [ "$(sqlite3 "$3/commits.db" <"$3/commits.sql")" = 300 ]
fi
