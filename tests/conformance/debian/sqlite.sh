set -e
cd /root
insert="with recursive c(x) as (select 1 union all select x + 1 from c where x < 20000)
    insert into t(b) select hex(randomblob(8)) from c"
for mode in delete wal; do
    sqlite3 $mode.db "pragma journal_mode=$mode; create table t(a integer primary key, b); create index i on t(b);" >mode
    # Two writers at once, which lock each other out.
    sqlite3 -cmd '.timeout 60000' $mode.db "$insert" &
    sqlite3 -cmd '.timeout 60000' $mode.db "$insert"
    wait $!
    test "$(sqlite3 $mode.db 'select count(*) from t; pragma integrity_check')" = "$(printf '40000\nok')"
done
