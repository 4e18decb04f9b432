//! Many requests over few connections, for tests that need thousands.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::http1::{encode, status_of};
use crate::message::Message;
use crate::wire::{Incoming, Until};

/// How many requests may be on their way on one connection.
const AHEAD: usize = 64;

/// Sends the requests in order, without waiting for each answer: how many answers had which status.
pub async fn send(stream: TcpStream, messages: Vec<Message>) -> Result<BTreeMap<u16, u64>> {
    let (reader, mut writer) = stream.into_split();
    let expected = messages.len();
    let (answered, mut waiting) = tokio::sync::mpsc::channel::<()>(expected.max(1));
    let write = async {
        for (index, messages) in messages.chunks(AHEAD).enumerate() {
            let bytes: Vec<u8> = messages.iter().flat_map(encode).collect();
            writer.write_all(&bytes).await?;
            // One batch may be unanswered while the next one is written.
            let finished = if index == 0 { 0 } else { AHEAD };
            for _ in 0..finished {
                waiting.recv().await.context("the connection was closed")?;
            }
        }
        anyhow::Ok(())
    };
    let read = async {
        let mut incoming = Incoming::new(reader);
        let mut statuses = BTreeMap::new();
        for count in 0..expected {
            let head = incoming.head().await?;
            let head = head.with_context(|| format!("closed after {count} of {expected} answers"))?;
            let status = status_of(&head)?;
            ensure!(!(100..200).contains(&status), "a load has no place for status {status}");
            incoming.body(&head.headers, Until::Now).await?;
            *statuses.entry(status).or_insert(0) += 1;
            let _ = answered.send(()).await;
        }
        anyhow::Ok(statuses)
    };
    let ((), statuses) = tokio::try_join!(write, read)?;
    Ok(statuses)
}
