//! What the document says, and that it is whole.

use serde_json::Value;

use crate::protocol::openapi::pretty;

mod operations;

mod schemas;

fn value() -> Value {
    serde_json::from_str(&pretty()).expect("json")
}
