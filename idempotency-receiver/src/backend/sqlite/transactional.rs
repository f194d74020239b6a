//! Effect and record in one transaction.

use super::{Attempt, BackendError, Shared, error, millis, records::complete};
use crate::answer::Answer;
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use rusqlite::{Connection, Transaction, TransactionBehavior::Immediate};
use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

/// The transaction that a handler is handed, as an extension of its request: what it does there is committed together with its
/// answer, or neither is.
///
/// If that is all that the handler does, then set [`OnUnknown::Repeat`](crate::OnUnknown::Repeat): an attempt without a record
/// has done nothing, so it can be repeated, and each request is executed exactly once, whenever the process is killed.
///
/// ```
/// use axum::{Extension, http::StatusCode, response::{IntoResponse, Response}};
/// use idempotency_receiver::Transactional;
///
/// async fn create_order(Extension(records): Extension<Transactional>, item: String) -> Response {
///     let committed = records.commit(move |transaction| {
///         transaction.execute("INSERT INTO orders (item) VALUES (?1)", [&item])?;
///         let order = transaction.last_insert_rowid();
///         Ok::<_, rusqlite::Error>(axum::http::Response::new(format!("order {order}")))
///     });
///     match committed.await {
///         Ok(response) => response.into_response(),
///         // Nothing was committed.
///         Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Transactional {
    shared: Arc<Shared>,
    attempt: Attempt,
    begun: (SystemTime, Instant),
}

/// Why nothing was committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError<E> {
    /// The function said so.
    #[error("{0}")]
    Effect(E),
    /// The database can't be reached. If this comes from the commit itself, then the layer finds out whether it took place, and
    /// answers accordingly.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The attempt has committed an answer before.
    #[error("the request's answer is committed already")]
    Committed,
    /// The function has ended the transaction itself, with `COMMIT` or `ROLLBACK`. In this case something may be committed.
    #[error("the transaction was ended by the function that was to work in it")]
    Ended,
}

impl Transactional {
    pub(super) fn new(shared: Arc<Shared>, attempt: Attempt, now: SystemTime) -> Self {
        Self {
            shared,
            attempt,
            begun: (now, Instant::now()),
        }
    }

    /// Calls the function with a transaction, on a thread where it may block, and commits what it did and what it answers. From
    /// then on this is the request's answer, whatever the handler does.
    ///
    /// The function must not end the transaction. What it does elsewhere is not in the transaction.
    ///
    /// # Errors
    /// [`TransactionError::Effect`] with the function's error: nothing is committed then, and neither is it in the other cases.
    ///
    /// # Panics
    /// If the function does. Nothing is committed then.
    pub async fn commit<T, E>(
        &self,
        effect: impl FnOnce(&Transaction<'_>) -> Result<Response<T>, E> + Send + 'static,
    ) -> Result<Response<Full<Bytes>>, TransactionError<E>>
    where
        T: Into<Bytes>,
        E: Send + 'static,
    {
        let (attempt, (now, since)) = (self.attempt.clone(), self.begun);
        let work = move |connection: &mut Connection, shared: &Shared| {
            let now = now.checked_add(since.elapsed()).unwrap_or(now);
            let until = millis(shared.limits.until(now));
            let transaction = immediate(connection)?;
            let response = effect(&transaction).map_err(TransactionError::Effect)?;
            let answer = Answer::new(response.map(T::into));
            if transaction.is_autocommit() {
                return Err(TransactionError::Ended);
            }
            match complete(&transaction, &attempt, &answer, until)? {
                0 => Err(TransactionError::Committed),
                _ => transaction
                    .commit()
                    .map_err(error)
                    .map(|()| answer)
                    .map_err(TransactionError::from),
            }
        };
        Ok(self.shared.with(work).await?.into_response())
    }
}

/// Does something as one transaction, without a record.
pub(super) async fn transaction<T, E>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
) -> Result<T, TransactionError<E>>
where
    T: Send + 'static,
    E: Send + 'static,
{
    let work = move |connection: &mut Connection, _: &Shared| {
        let transaction = immediate(connection)?;
        let done = work(&transaction).map_err(TransactionError::Effect)?;
        transaction.commit().map_err(error)?;
        Ok(done)
    };
    shared.with(work).await
}

fn immediate(connection: &mut Connection) -> Result<Transaction<'_>, BackendError> {
    connection
        .transaction_with_behavior(Immediate)
        .map_err(error)
}
