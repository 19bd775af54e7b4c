//! Numbers for Prometheus. Labels have few values each: never a repository, never a caller.

use std::sync::atomic::AtomicU64;

use http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What kind of URL was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum RouteClass {
    /// `timestamp.json`, the most read document.
    Timestamp,
    /// Any other metadata.
    Metadata,
    /// Target bytes.
    Target,
    /// The API, publishing aside.
    Api,
    /// Publishing.
    Publish,
    /// `timestamp.json`, for clients of Notary.
    NotaryTimestamp,
    /// Any other metadata, for clients of Notary.
    NotaryMetadata,
    /// Publishing by clients of Notary.
    NotaryPublish,
    /// What else clients of Notary ask for: keys, changes, removal.
    NotaryApi,
    /// Nothing the server knows.
    Unknown,
}

/// How a publication ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// Committed.
    Done,
    /// Committed before; the answer was given again.
    Replayed,
    /// Built on a head that is no longer current.
    Conflict,
    /// Broke a rule.
    Rejected,
    /// The server or its store could not.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    class: RouteClass,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: Outcome,
}

/// All numbers of one server.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    /// The two answers that make up almost all of the traffic, found without a look-up.
    timestamp_hits: [Counter; 2],
    publishes: Family<OutcomeLabels, Counter>,
    renewals: Family<OutcomeLabels, Counter>,
    /// Connections open now.
    pub connections: Gauge,
    /// Panics that were contained.
    pub panics: Counter,
    renewal_delay: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("bullad");
        let requests = Family::<RequestLabels, Counter>::default();
        let publishes = Family::<OutcomeLabels, Counter>::default();
        let renewals = Family::<OutcomeLabels, Counter>::default();
        let (connections, panics) = (Gauge::default(), Counter::default());
        let renewal_delay = Gauge::default();
        registry.register("http_requests", "Answered requests", requests.clone());
        registry.register("publishes", "Publications by outcome", publishes.clone());
        registry.register("renewals", "Renewals of online roles by outcome", renewals.clone());
        registry.register("connections", "Open connections", connections.clone());
        registry.register("panics", "Contained panics", panics.clone());
        registry.register(
            "renewal_delay_seconds",
            "How long the most urgent renewal has been waiting",
            renewal_delay.clone(),
        );
        let hit = |status: StatusCode| {
            let labels =
                RequestLabels { class: RouteClass::Timestamp, method: "GET", status: status.as_u16() };
            requests.get_or_create(&labels).clone()
        };
        let timestamp_hits = [hit(StatusCode::OK), hit(StatusCode::NOT_MODIFIED)];
        Self { registry, requests, timestamp_hits, publishes, renewals, connections, panics, renewal_delay }
    }
}

impl Metrics {
    /// Counts an answered request.
    pub fn request(&self, class: RouteClass, method: &Method, status: StatusCode) {
        let [ok, not_modified] = &self.timestamp_hits;
        match (class, method, status) {
            (RouteClass::Timestamp, &Method::GET, StatusCode::OK) => ok.inc(),
            (RouteClass::Timestamp, &Method::GET, StatusCode::NOT_MODIFIED) => not_modified.inc(),
            _ => {
                let labels = RequestLabels { class, method: known(method), status: status.as_u16() };
                self.requests.get_or_create(&labels).inc()
            }
        };
    }

    /// Counts a publication.
    pub fn publish(&self, outcome: Outcome) {
        self.publishes.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Counts a renewal.
    pub fn renewal(&self, outcome: Outcome) {
        self.renewals.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Sets for how many seconds the most urgent renewal has been waiting.
    #[expect(clippy::cast_precision_loss, reason = "seconds of an outage are far below 2^53")]
    pub fn renewal_delay(&self, seconds: i64) {
        self.renewal_delay.set(seconds as f64);
    }

    /// Everything in the text format of OpenMetrics.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

/// Methods are chosen by callers, labels must not be.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_class_method_and_status() {
        let metrics = Metrics::default();
        metrics.request(RouteClass::Timestamp, &Method::GET, StatusCode::OK);
        metrics.request(RouteClass::Api, &Method::from_bytes(b"EVIL").unwrap(), StatusCode::NOT_FOUND);
        metrics.publish(Outcome::Conflict);
        let text = metrics.encode();
        for line in [
            r#"bullad_http_requests_total{class="Timestamp",method="GET",status="200"} 1"#,
            r#"bullad_http_requests_total{class="Api",method="other",status="404"} 1"#,
            r#"bullad_publishes_total{outcome="Conflict"} 1"#,
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains("EVIL"));
    }
}
