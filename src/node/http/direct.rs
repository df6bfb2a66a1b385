//! The conversation of two: opened by either, always the same.

use crate::log::record::Fingerprint;
use crate::node::http::answer::{Answer, Refusal};
use crate::node::http::request::{self, Call};
use crate::node::http::rest::Rest;
use crate::problem::{Code, Problem};
use crate::protocol::{DirectBody, Settings, direct};
use crate::shard::command::Create;

impl Rest {
    pub(super) async fn open_direct(&self, call: &Call<'_>) -> Result<Answer, Refusal> {
        self.make(call, open_command(call)?).await
    }
}

/// The creation of that name, which the owner takes for opening it when it is there.
fn open_command(call: &Call<'_>) -> Result<Create, Problem> {
    let body: DirectBody = call.json()?;
    call.query()?;

    let other = request::user_name(&body.user)?;
    if other == call.user {
        let detail = "user is the caller; a conversation of two takes another one";
        return Err(Problem::new(Code::Invalid, detail));
    }
    let name = direct::name_of(&call.user, &other)
        .ok_or_else(|| Problem::unavailable("the name of the conversation was not made"))?;

    Ok(Create {
        name,
        by: call.user.clone(),
        title: None,
        participants: vec![call.user.clone(), other],
        key: None,
        fingerprint: Fingerprint::default(),
        data: None,
        settings: Settings::default(),
    })
}
