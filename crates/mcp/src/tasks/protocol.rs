//! A task as the protocol's tasks extension has it (`io.modelcontextprotocol/tasks`).

use super::{Ended, Record, Standing};
use crate::running::POLL;
use rmcp::ErrorData;
use rmcp::model::{DetailedTask, ErrorCode, Task, TaskPayload, TaskStatus};
use serde_json::{Value, json};

pub(crate) fn protocol_task(record: &Record) -> Task {
    let status = match &record.standing {
        Standing::Working => TaskStatus::Working,
        Standing::InputRequired(_) => TaskStatus::InputRequired,
        Standing::Ended(Ended::Completed(_)) => TaskStatus::Completed,
        Standing::Ended(Ended::Failed(_) | Ended::Lost) => TaskStatus::Failed,
        Standing::Ended(Ended::Cancelled) => TaskStatus::Cancelled,
    };
    Task::new(
        record.id.clone(),
        status,
        timestamp(record.created_ms),
        timestamp(record.updated_ms),
    )
    .with_status_message(format!("{} % - {}", record.percent, record.step))
    .with_ttl_ms(record.life_ms)
    .with_poll_interval_ms(u64::try_from(POLL.as_millis()).unwrap_or(u64::MAX))
}

/// ISO 8601, in UTC.
fn timestamp(unix_ms: u64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(i64::try_from(unix_ms).unwrap_or(i64::MAX));
    time.unwrap_or_default()
        .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

pub(crate) fn detailed(record: &Record) -> Result<DetailedTask, ErrorData> {
    let object = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let payload = match &record.standing {
        Standing::Working => TaskPayload::Working,
        Standing::InputRequired(asked) => TaskPayload::InputRequired {
            input_requests: asked
                .requests()
                .map_err(|error| ErrorData::internal_error(error.to_string(), None))?,
        },
        Standing::Ended(Ended::Completed(result)) => TaskPayload::Completed {
            result: object(result),
        },
        Standing::Ended(Ended::Failed(error)) => TaskPayload::Failed {
            error: object(error),
        },
        Standing::Ended(Ended::Cancelled) => TaskPayload::Cancelled,
        Standing::Ended(Ended::Lost) => TaskPayload::Failed {
            error: object(&json!({
                "code": ErrorCode::INTERNAL_ERROR.0,
                "message": record.loss(),
                "data": {"lost": true, "can_resume": record.can_resume()},
            })),
        },
    };
    Ok(DetailedTask::new(protocol_task(record), payload))
}
