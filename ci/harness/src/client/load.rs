//! Many requests over few connections, for tests that need thousands.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::http1::{encode, status_of};
use crate::message::Message;
use crate::wire::{Incoming, Until};

/// Sends the requests one after the other: how many answers had which status. They are not pipelined: Envoy closes
/// connections on which more than two answers of its own wait (`http1.response_flood`).
pub async fn send(stream: TcpStream, messages: Vec<Message>) -> Result<BTreeMap<u16, u64>> {
    let (reader, mut writer) = stream.into_split();
    let mut incoming = Incoming::new(reader);
    let mut statuses = BTreeMap::new();
    for (count, message) in messages.iter().enumerate() {
        writer.write_all(&encode(message)).await?;
        let head = incoming.head().await?;
        let head = head.with_context(|| format!("closed after {count} of {} answers", messages.len()))?;
        let status = status_of(&head)?;
        ensure!(!(100..200).contains(&status), "a load has no place for status {status}");
        incoming.body(&head.headers, Until::Now).await?;
        *statuses.entry(status).or_insert(0) += 1;
    }
    Ok(statuses)
}
