//! Declaring the topology at a broker.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ErrorKind};

use crate::replication::topology::{Argument, ExchangeKind, Queue, Topology};

use super::broker::limited;
use super::trouble::Trouble;

/// The broker's word for "it is there, and differs".
const PRECONDITION_FAILED: u16 = 406;

/// Declares everything; what is there already stays.
pub(super) async fn declare(channel: &Channel, topology: &Topology) -> Result<(), Trouble> {
    for exchange in &topology.exchanges {
        let kind = match exchange.kind {
            ExchangeKind::Topic => lapin::ExchangeKind::Topic,
            ExchangeKind::Direct => lapin::ExchangeKind::Direct,
        };
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let name = exchange.name.as_str().into();
        let call = channel.exchange_declare(name, kind, options, FieldTable::default());
        differs(&exchange.name, limited("declare an exchange", call).await)?;
    }
    for queue in &topology.queues {
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        let call = channel.queue_declare(queue.name.as_str().into(), options, arguments(queue));
        differs(&queue.name, limited("declare a queue", call).await)?;
    }
    for binding in &topology.bindings {
        let call = channel.queue_bind(
            binding.queue.as_str().into(),
            binding.exchange.as_str().into(),
            binding.key.as_str().into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        limited("bind a queue", call).await?;
    }
    Ok(())
}

fn arguments(queue: &Queue) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in &queue.arguments {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString((*text).into()),
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
        };
        table.insert((*name).into(), value);
    }
    table
}

/// Names what is there with other arguments.
fn differs<T>(name: &str, declared: Result<T, Trouble>) -> Result<T, Trouble> {
    declared.map_err(|trouble| match trouble {
        Trouble::Failed { source, .. } if is_precondition(&source) => {
            Trouble::OtherArguments { name: name.to_owned(), source }
        }
        other => other,
    })
}

fn is_precondition(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if error.get_id() == PRECONDITION_FAILED)
}
