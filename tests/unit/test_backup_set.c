/* The set of backups: names, making, the number kept, and what is no backup. */
#include "tests/unit/store_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "store/backup_set.h"

TestSuite(backup_set, .init = fixture_open, .fini = fixture_close);

static size_t list(struct backup_set_entry *ret_entries, size_t max)
{
    struct backup_set_entry *entries = NULL;
    size_t count = 0;
    OK(backup_set_list(fixture_dir, &entries, &count, &err));
    for (size_t i = 0; i < count && i < max; i++)
        ret_entries[i] = entries[i];
    mem_free(entries);
    return count;
}

static void touch(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/backups/%s", fixture_dir, name);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    cr_assert(fd >= 0);
    close(fd);
}

Test(backup_set, names_carry_their_time)
{
    struct backup_set_entry entry;
    cr_assert(backup_set_parse("state-20261123T024110123Z.db", &entry));
    cr_assert(!entry.metrics && entry.made_ms == 1795401670123);
    cr_assert(backup_set_parse("metrics-19700101T000000000Z.db", &entry));
    cr_assert(entry.metrics && entry.made_ms == 0);
    static const char *const bad[] = {
        "",
        "state.db",
        "state-20261123T024110123Z.db.partial",
        "state-20261123T024110123Z.db-journal",
        "state-20260230T024110123Z.db",
        "state-20261123T024110Z.db",
        "other-20261123T024110123Z.db",
        "state-2026112xT024110123Z.db",
        "state- 0261123T024110123Z.db",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_assert(!backup_set_parse(bad[i], &entry), "%s", bad[i]);
}

Test(backup_set, a_copy_is_whole_and_newest_comes_first)
{
    struct backup_set_entry entries[4];
    struct stat st;
    cr_assert_eq(list(entries, 4), 0, "no folder is no failure");
    fixture_run("kept", 1);
    OK(backup_set_make(fixture_dir, false, 1795401670000, 0, &err));
    fixture_run("later", 1);
    OK(backup_set_make(fixture_dir, false, 1795401670001, 0, &err));
    OK(backup_set_make(fixture_dir, true, 1795401669000, 0, &err));
    GIVES(IJ_CONFLICT, backup_set_make(fixture_dir, false, 1795401670001, 0, &err));
    cr_assert_eq(list(entries, 4), 3);
    cr_assert(entries[0].made_ms == 1795401670001 && !entries[0].metrics);
    cr_assert(entries[2].metrics && entries[2].bytes > 0);
    char name[80];
    snprintf(name, sizeof name, "backups/%s", entries[0].name);
    cr_assert_eq(fixture_value(name, "SELECT count(*) FROM run"), 2);
    snprintf(name, sizeof name, "backups/%s", entries[1].name);
    cr_assert_eq(fixture_value(name, "SELECT count(*) FROM run"), 1);
    cr_assert_eq(stat(fixture_path(name), &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    cr_assert_eq(stat(fixture_path("backups"), &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0700);
}

Test(backup_set, the_newest_are_kept_and_only_backups_go)
{
    struct backup_set_entry entries[8];
    for (int i = 0; i < 5; i++)
        OK(backup_set_make(fixture_dir, false, 1795401670000 + i, 0, &err));
    OK(backup_set_make(fixture_dir, true, 1795401660000, 0, &err));
    touch("notes.txt");
    touch("state-20200101T000000000Z.db.partial");
    touch("state-20200101T000000000Z.db.partial-journal");
    OK(backup_set_prune(fixture_dir, false, 5, &err));
    cr_assert_eq(list(entries, 8), 6);
    OK(backup_set_prune(fixture_dir, false, 2, &err));
    cr_assert_eq(list(entries, 8), 3);
    cr_assert(entries[0].made_ms == 1795401670004 && entries[1].made_ms == 1795401670003);
    cr_assert(entries[2].metrics);
    cr_assert_eq(access(fixture_path("backups/notes.txt"), F_OK), 0);
    cr_assert_neq(access(fixture_path("backups/state-20200101T000000000Z.db.partial"), F_OK), 0);
}

Test(backup_set, without_room_nothing_is_written)
{
    struct backup_set_entry entries[1];
    GIVES(IJ_NO_SPACE, backup_set_make(fixture_dir, false, 1795401670000, UINT64_MAX / 2, &err));
    cr_assert_eq(list(entries, 1), 0);
}

Test(backup_set, a_damaged_original_makes_no_backup)
{
    struct backup_set_entry entries[1];
    for (int i = 0; i < 300; i++)
        fixture_run("filler filler filler filler", 1);
    fixture_reopen();
    OK(store_maintain(store, &err));
    fixture_sql("state.db", "PRAGMA wal_checkpoint(TRUNCATE)");
    int fd = open(fixture_path("state.db"), O_WRONLY);
    char junk[4096];
    memset(junk, 0xa5, sizeof junk);
    for (int page = 3; page < 30; page++)
        cr_assert_eq(pwrite(fd, junk, sizeof junk, page * 4096), 4096);
    close(fd);
    cr_assert_neq(backup_set_make(fixture_dir, false, 1795401670000, 0, &err), IJ_OK);
    cr_assert_eq(list(entries, 1), 0);
}
