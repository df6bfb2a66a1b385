//! How statements find their rows.

use super::*;

/// What was found of the oldest events of a conversation.
const OLDEST: [&str; 4] = [
    "SCAN first_message",
    "SCAN first_event",
    "SCAN lowest",
    "SCAN old",
];

/// Every statement that finds rows.
fn statements() -> Vec<String> {
    let mut statements: Vec<String> = Vec::new();
    let more: [&[&str]; 13] = [
        &audit::READS,
        &conversations::READS,
        &keys::READS,
        &receipts::READS,
        &index::READS,
        &lists::READS,
        &progress::READS,
        &seen::READS,
        &erasure::READS,
        &retention::READS,
        &write_closing::FINDING,
        &write_receipts::DELETING,
        &write_views::DELETING,
    ];

    let reads = messages::READS.iter().chain(&more).copied().flatten();
    statements.extend(reads.map(|read| (*read).to_owned()));
    statements.extend(
        [
            write_messages::LAST_SEQS,
            write_messages::JOINED,
            write_receipts::WATERMARKS,
            writer::KEPT,
        ]
        .map(str::to_owned),
    );

    statements.extend(write_messages::DELETING.map(str::to_owned));
    statements.extend(
        write_messages::FINDING
            .iter()
            .chain(&write_members::FINDING)
            .chain(&write_receipts::FINDING)
            .chain(&write_views::FINDING)
            .chain(&write_retention::FINDING)
            .map(|multi| multi.text(4)),
    );

    statements.push("SELECT * FROM receipts WHERE message_id = ?".to_owned());
    statements
}

#[tokio::test]
async fn no_statement_scans_a_table() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut reader = store.readers().acquire().await.expect("a reader");
    for statement in statements() {
        let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")))
            .fetch_all(&mut *reader)
            .await;
        for step in plan.unwrap_or_else(|error| panic!("{statement}: {error}")) {
            let detail: String = step.get("detail");
            // What is scanned on purpose: the rows given with the statement itself, a bounded part
            // of a conversation's reactions that an audit has gathered, the participants of one
            // that is closed as they are numbered, the index of those that are erased, and what
            // was found of the oldest events.
            let given = detail.contains("VIRTUAL TABLE")
                || detail.starts_with("SCAN v")
                || detail == "SCAN some"
                || detail.starts_with("SCAN (subquery")
                || detail == "SCAN x USING INDEX closings_left"
                || OLDEST.contains(&detail.as_str())
                || detail.contains("CONSTANT ROW")
                || detail.contains("VALUES CLAUSE");
            let scans = detail.starts_with("SCAN") && !given;
            assert!(
                !scans && !detail.contains("AUTOMATIC") && !detail.contains("TEMP B-TREE"),
                "{detail}: {statement}"
            );
        }
    }
}

#[tokio::test]
async fn a_page_of_reactions_reads_the_rows_of_that_page_alone() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let plan = format!("EXPLAIN QUERY PLAN {}", receipts::REACTIONS_PAGE);
    let steps = sqlx::query(AssertSqlSafe(plan))
        .fetch_all(store.readers())
        .await
        .expect("a plan");
    let details: Vec<String> = steps.iter().map(|step| step.get("detail")).collect();
    assert_eq!(
        details,
        [
            "SEARCH m USING INDEX messages_by_id (id=?)",
            "SEARCH r USING PRIMARY KEY (message_id=? AND participant>?)",
        ],
        "in the order of the key, so that nothing is sorted"
    );
}
