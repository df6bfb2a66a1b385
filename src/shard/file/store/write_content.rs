//! The statements by which messages, and what changes them, get into the file.

use crate::ids::MessageId;
use crate::shard::file::apply::changes::{Changes, EditRow, MessageRow, MessageStep};
use crate::shard::file::store::columns::{int, json_of_names};
use crate::shard::file::store::script::{Bound, Multi, Script, Which};

const MESSAGE: Multi = Multi {
    head: "INSERT OR IGNORE INTO messages (id, conversation, seq, source, text, reply_to, created)",
    row: "(?, ?, ?, ?, ?, ?, ?)",
    tail: "",
};
const MESSAGE_WITH_MORE: Multi = Multi {
    head: "INSERT OR IGNORE INTO messages (id, conversation, seq, source, text, reply_to, created, data, mentions)",
    row: "(?, ?, ?, ?, ?, ?, ?, ?, ?)",
    tail: "",
};
// A deleted message stays as it is.
pub(super) const EDIT: Multi = Multi {
    head: "UPDATE messages SET text = v.column2, data = v.column3, mentions = v.column4, edited = v.column5, \
        changed_seq = v.column6, edits = messages.edits + v.column7 FROM (VALUES ",
    row: "(?, ?, ?, ?, ?, ?, ?)",
    tail: ") AS v WHERE messages.id = v.column1 AND messages.deleted_by IS NULL",
};
pub(super) const ERASE: Multi = Multi {
    head: "UPDATE messages SET text = '', data = NULL, mentions = NULL, edited = NULL, edits = 0, \
        deleted_by = v.column2, changed_seq = v.column3 FROM (VALUES ",
    row: "(?, ?, ?)",
    tail: ") AS v WHERE messages.id = v.column1 AND messages.deleted_by IS NULL",
};
pub(super) const PRUNE: &str = "DELETE FROM messages WHERE conversation = ? AND seq <= ?";

/// Adds the rows; which statements write new messages.
pub(super) fn write(script: &mut Script, changes: &Changes) -> Vec<Which> {
    let mut sent = Vec::new();
    for step in &changes.messages {
        match step {
            MessageStep::Send(rows) => sent.push(send(script, rows)),
            MessageStep::Edit(rows) => edit(script, &rows.iter().collect::<Vec<_>>()),
            MessageStep::Delete(rows) => {
                let rows: Vec<_> = rows.iter().collect();
                script.rows(&ERASE, &rows, |query, (id, row)| {
                    query
                        .bind(id.as_bytes().as_slice())
                        .bind(row.by.as_str())
                        .bind(int(row.seq.0))
                });
            }
            MessageStep::Prune(gone) => {
                for (name, up_to) in gone {
                    script.add(PRUNE, |query| query.bind(name.as_str()).bind(int(up_to.0)));
                }
            }
        }
    }

    sent
}

/// New messages. Where all are text alone, as most are, nothing else is told to SQLite.
fn send(script: &mut Script, rows: &[MessageRow]) -> Which {
    if rows.iter().any(|row| row.content.has_more()) {
        return script.rows(&MESSAGE_WITH_MORE, rows, |query, row| {
            bind_message(query, row)
                .bind(row.content.data.as_deref())
                .bind(json_of_names(&row.content.mentions))
        });
    }
    script.rows(&MESSAGE, rows, bind_message)
}

fn bind_message(query: Bound, row: &MessageRow) -> Bound {
    query
        .bind(row.id.as_bytes().as_slice())
        .bind(row.conversation.as_str())
        .bind(int(row.seq.0))
        .bind(row.source.as_str())
        .bind(row.content.text.as_ref())
        .bind(row.reply_to.as_ref().map(|id| id.as_bytes().as_slice()))
        .bind(int(row.created))
}

fn edit(script: &mut Script, rows: &[(&MessageId, &EditRow)]) {
    script.rows(&EDIT, rows, |query, (id, row)| {
        query
            .bind(id.as_bytes().as_slice())
            .bind(row.content.text.as_ref())
            .bind(row.content.data.as_deref())
            .bind(json_of_names(&row.content.mentions))
            .bind(int(row.edited))
            .bind(int(row.seq.0))
            .bind(row.edits)
    });
}
