"""The disk after a crash: what a power failure takes from it, and whether the store's file is whole."""
import collections
import os
import shutil
import sqlite3
import struct
import tempfile

CREATED, WRITTEN, TRUNCATED, UNLINKED, SYNCED = range(1, 6)
SECTOR = 512
Record = collections.namedtuple("Record", "kind name sequence offset length old_size old")
_HEADER = struct.Struct("=IIqqqqq")


def _read_journal(path):
    """What tests/support/lost_writes.c has noted. The last record may be incomplete: it was noted, but not done."""
    if not os.path.exists(path):  # it was killed before it began
        return
    with open(path, "rb") as journal:
        data = journal.read()
    place = 0
    while len(data) - place >= _HEADER.size:
        kind, name_bytes, sequence, offset, length, old_size, old_bytes = _HEADER.unpack_from(data, place)
        name_end = place + _HEADER.size + name_bytes
        if name_end + old_bytes > len(data):
            return
        yield Record(kind, data[name_end - name_bytes:name_end].decode(), sequence, offset, length, old_size,
                     data[name_end:name_end + old_bytes])
        place = name_end + old_bytes


def _names(kind):
    return kind in (CREATED, UNLINKED)


def _unsynced(records):
    """Those that no fsync covers, of the folder for names, of the file for the rest; in their order."""
    waiting = []
    for record in records:
        if record.kind != SYNCED:
            waiting.append(record)
            continue

        def covered(other, by=record):
            return other.sequence <= by.sequence and (_names(other.kind) if by.name == "" else
                                                      other.name == by.name and not _names(other.kind))
        gone = {other.name: other.sequence for other in waiting if other.kind == UNLINKED and covered(other)}
        waiting = [other for other in waiting
                   if not covered(other) and other.sequence >= gone.get(other.name, 0)]
    return waiting


def _without_names(records):
    """As if the folder had been synchronized: what was done to a file before it was unlinked is gone with it."""
    gone = {record.name: record.sequence for record in records if record.kind == UNLINKED}
    return [record for record in records if not _names(record.kind) and record.sequence > gone.get(record.name, 0)]


def _undo(directory, record):
    """Returns what was written, to do it again."""
    path = os.path.join(directory, record.name)
    if record.kind == UNLINKED:
        os.rename(record.old.decode(), path)
    elif not os.path.exists(path):
        pass
    elif record.kind == CREATED:
        os.unlink(path)
    else:
        with open(path, "r+b") as file:
            file.seek(record.offset)
            new = file.read(record.length)
            file.seek(record.offset)
            file.write(record.old)
            file.truncate(record.old_size)
        return new
    return b""


def _do_again(directory, record, new, rng):
    """Perhaps, and perhaps not all of it."""
    path = os.path.join(directory, record.name)
    if not os.path.exists(path) or rng.random() < 0.5:
        return
    with open(path, "r+b") as file:
        if record.kind == TRUNCATED:
            file.truncate(record.offset)
            return
        if rng.random() < 0.3:  # torn
            new = new[:rng.randrange(len(new) // SECTOR + 1) * SECTOR]
        file.seek(record.offset)
        file.write(new)


def lose_writes(directory, journal, rng):
    """Makes `directory` what it may be after a power failure, and takes the journal away: nothing that was not
    synchronized is there, or some of it, in any order. Returns how many changes were not synchronized."""
    lost = _unsynced(_read_journal(journal))
    some = rng.random() < 0.5
    records = _without_names(lost) if some and rng.random() < 0.7 else lost
    again = [(record, _undo(directory, record)) for record in reversed(records)]
    if some:
        for record, new in reversed(again):
            if not _names(record.kind):
                _do_again(directory, record, new, rng)
    for name in os.listdir(directory):
        if name.endswith("-shm"):
            os.unlink(os.path.join(directory, name))
    folder, prefix = os.path.split(journal)
    for name in os.listdir(folder):
        if name.startswith(prefix):
            os.unlink(os.path.join(folder, name))
    return len(lost)


_CHECKS = {
    "jobs that are live and ended": "SELECT count(*) FROM live_jobs JOIN ended_jobs USING(number)",
    "facets that count wrong":
        "SELECT count(*) FROM facets WHERE jobs != (SELECT count(*) FROM ended_jobs e WHERE e.facet = facets.facet)",
    "jobs without a facet":
        "SELECT count(*) FROM ended_jobs WHERE facet NOT IN (SELECT facet FROM facets)",
    "labels of no job": "SELECT count(*) FROM labels WHERE number NOT IN (SELECT number FROM ended_jobs)",
    "jobs with other labels":
        "SELECT count(*) FROM ended_jobs e LEFT JOIN (SELECT number, count(*) AS has FROM labels GROUP BY number) l "
        "USING(number) WHERE ifnull(e.labels, 0) != ifnull(l.has, 0)",
}


def store_faults(path):
    """What is wrong with a copy of the store's file and its log, as texts."""
    if not os.path.exists(path):
        return []
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "copy.db")
        for end in ("", "-wal", "-journal"):
            if os.path.exists(path + end):
                shutil.copyfile(path + end, copy + end)
        db = sqlite3.connect(copy)
        try:
            faults = [row[0] for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
            tables = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            if "live_jobs" in tables:
                for what, query in _CHECKS.items():
                    (count,), = db.execute(query)
                    if count:
                        faults.append(f"{count} {what}")
            return faults
        except sqlite3.DatabaseError as error:
            return [str(error)]
        finally:
            db.close()
