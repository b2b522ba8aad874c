//! Connections: how many, how long, and their end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::App;

/// Largest header of a request, in bytes.
const HEADER: usize = 16 << 10;

/// Answers requests until it is told to stop; whether every running request was finished then.
///
/// `axum::serve` is shorter, but gives a client all the time in the world to send its header. Here a
/// connection that sends none within the host's patience is closed, also between two requests.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    app: App,
    mut stop: watch::Receiver<bool>,
) -> bool {
    let config = &app.config;
    let running = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(config.connections.clamp(1, Semaphore::MAX_PERMITS)));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // No file descriptors left, mostly: some requests later there are.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Answers are small: none waits for more to fill a packet.
        let _ = stream.set_nodelay(true);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(config.patience)
            .max_buf_size(HEADER)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = running.watch(connection);
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection");
            }
        });
    }
    // From here on the kernel refuses connections.
    drop(listener);
    tokio::time::timeout(config.grace, running.shutdown()).await.is_ok()
}

/// A place first and a connection then: those beyond the limit wait in the kernel's queue.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(tokio::net::TcpStream, Option<tokio::sync::OwnedSemaphorePermit>)> {
    // Never closed, so there is always one in the end.
    let place = places.clone().acquire_owned().await.ok();
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}
