//! The schema of a shard's file: migrations and additions, as they are in the folder `migrations`.

use std::sync::LazyLock;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// All of them, ready to be run.
pub(super) static MIGRATIONS: LazyLock<Migrator> =
    LazyLock::new(|| Migrator::with_migrations(up_to(FILES.len())));

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/migrations/",
            $name,
            ".sql"
        ))
    };
}

/// Number, what it is for, and SQL of each. The macro of sqlx that reads a folder is not used: for
/// it the compiler itself has to have a SQLite, a tokio and all of sqlx built, beside those of the
/// program.
const FILES: [(i64, &str, &str); 5] = [
    (1, "shard", sql!("0001_shard")),
    (2, "time of the shard", sql!("0002_time_of_the_shard")),
    (3, "edits", sql!("0003_edits")),
    (4, "seen", sql!("0004_seen")),
    (5, "roles", sql!("0005_roles")),
];

/// Tables that are made where they are missing, by statements that may be run again. A program that
/// does not know them does not notice them, while it refuses a file with a migration that it does
/// not know: so a node may go back to it, as long as nothing of them is used.
pub(super) const ADDITIONS: [&str; 3] = [
    sql!("additions/closed"),
    sql!("additions/retention"),
    sql!("additions/views"),
];

/// The first of them, so many.
pub(super) fn up_to(count: usize) -> Vec<Migration> {
    FILES
        .iter()
        .take(count)
        .map(|(number, purpose, sql)| {
            Migration::new(
                *number,
                (*purpose).into(),
                MigrationType::Simple,
                sql.into_sql_str(),
                false,
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_run_in_the_order_of_its_number() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path())
            .filter(|path| path.is_file())
            .collect();
        files.sort();

        let found: Vec<_> = files
            .iter()
            .map(|file| {
                let name = file.file_stem().unwrap().to_str().unwrap();
                let (number, purpose) = name.split_once('_').unwrap();
                (
                    number.parse::<i64>().unwrap(),
                    purpose.replace('_', " "),
                    std::fs::read_to_string(file).unwrap(),
                )
            })
            .collect();
        let run: Vec<_> = FILES
            .iter()
            .map(|&(number, purpose, sql)| (number, purpose.to_owned(), sql.to_owned()))
            .collect();
        assert_eq!(run, found);
    }

    #[test]
    fn no_migration_changes_its_text_for_files_know_it_by_its_hash_and_refuse_another() {
        let hashes: Vec<_> = up_to(FILES.len())
            .iter()
            .map(|migration| hex(&migration.checksum[..8]))
            .collect();
        assert_eq!(
            hashes,
            [
                "986e6015210b2adc",
                "51e269f63d649c95",
                "5a65b4ad38336772",
                "ef73c6bf83c379e5",
                "6eafb15ace8f3762",
            ]
        );
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
