//! Traces that platforms begin: W3C Trace Context, and B3 in both of its forms.

use http::HeaderMap;

/// Where a request stands in a trace that somebody else has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// 32 lower-case hexadecimal digits, not all 0.
    pub trace_id: String,
    /// The span of the caller: 16 lower-case hexadecimal digits, not all 0.
    pub parent_id: String,
    /// Whether the caller records it.
    pub sampled: bool,
}

impl Trace {
    /// What the headers of a request say; `traceparent` goes before `b3`, and that before `X-B3-…`. What is malformed is
    /// as good as absent: a trace is never a reason to refuse.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(trace) = text("traceparent").and_then(Self::of_w3c) {
            return Some(trace);
        }
        if let Some(trace) = text("b3").and_then(Self::of_b3) {
            return Some(trace);
        }
        let sampled = text("x-b3-sampled").is_some_and(|sampled| matches!(sampled, "1" | "true"));
        let debug = text("x-b3-flags") == Some("1");
        Self::new(text("x-b3-traceid")?, text("x-b3-spanid")?, sampled || debug)
    }

    /// `traceparent`, for what the work calls in its turn: as it was, so that those calls hang on the caller's span.
    pub fn traceparent(&self) -> String {
        let flags = u8::from(self.sampled);
        format!("00-{}-{}-{flags:02x}", self.trace_id, self.parent_id)
    }

    /// What [`traceparent`](Self::traceparent) has said.
    pub fn parse(traceparent: &str) -> Option<Self> {
        Self::of_w3c(traceparent)
    }

    /// Later versions may have more parts behind the four that are known.
    fn of_w3c(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let known = version == "00";
        if version.len() != 2 || version == "ff" || !is_hex(version) || (known && parts.next().is_some()) {
            return None;
        }
        if trace.len() != 32 || flags.len() != 2 || !is_hex(flags) || text.bytes().any(|byte| byte.is_ascii_uppercase())
        {
            return None;
        }
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Self::new(trace, span, flags & 1 == 1)
    }

    /// `{trace}-{span}-{sampled}-{parent}`, the last two optional; a lone decision has no trace.
    fn of_b3(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (trace, span) = (parts.next()?, parts.next()?);
        Self::new(trace, span, matches!(parts.next(), Some("1" | "d")))
    }

    /// B3 also knows ids of traces with 64 bits; they get 0 in front.
    fn new(trace: &str, span: &str, sampled: bool) -> Option<Self> {
        let fine = |id: &str| is_hex(id) && id.bytes().any(|byte| byte != b'0');
        if !matches!(trace.len(), 16 | 32) || span.len() != 16 || !fine(trace) || !fine(span) {
            return None;
        }
        Some(Self {
            trace_id: format!("{:0>32}", trace.to_ascii_lowercase()),
            parent_id: span.to_ascii_lowercase(),
            sampled,
        })
    }

    /// What the log lines of the request, and of the work that it begins, stand in.
    pub fn span(&self) -> tracing::Span {
        tracing::info_span!("request", trace_id = %self.trace_id, parent_id = %self.parent_id)
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn of(headers: &[(&'static str, String)]) -> Option<Trace> {
        Trace::of(
            &headers
                .iter()
                .filter_map(|(name, value)| Some(((*name).parse().ok()?, value.parse().ok()?)))
                .collect(),
        )
    }

    fn trace(sampled: bool) -> Option<Trace> {
        Some(Trace {
            trace_id: TRACE.into(),
            parent_id: SPAN.into(),
            sampled,
        })
    }

    #[test]
    fn what_is_told_is_read_again() {
        for sampled in [true, false] {
            let trace = trace(sampled);
            assert_eq!(
                trace.as_ref().and_then(|trace| Trace::parse(&trace.traceparent())),
                trace
            );
        }
        assert_eq!(Trace::parse("nonsense"), None);
    }

    #[test]
    fn each_form_of_a_trace_is_read() {
        assert_eq!(of(&[("traceparent", format!("00-{TRACE}-{SPAN}-01"))]), trace(true));
        assert_eq!(of(&[("traceparent", format!("00-{TRACE}-{SPAN}-00"))]), trace(false));
        assert_eq!(
            of(&[("traceparent", format!("01-{TRACE}-{SPAN}-03-later"))]),
            trace(true)
        );
        assert_eq!(of(&[("b3", format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90"))]), trace(true));
        assert_eq!(of(&[("b3", format!("{TRACE}-{SPAN}"))]), trace(false));
        let upper = TRACE.to_ascii_uppercase();
        let multi = [
            ("x-b3-traceid", upper),
            ("x-b3-spanid", SPAN.into()),
            ("x-b3-sampled", "1".into()),
        ];
        assert_eq!(of(&multi), trace(true));
        let short = of(&[("b3", format!("a3ce929d0e0e4736-{SPAN}-d"))]).unwrap();
        assert_eq!(short.trace_id, "0000000000000000a3ce929d0e0e4736");
        assert_eq!(
            short.traceparent(),
            format!("00-0000000000000000a3ce929d0e0e4736-{SPAN}-01")
        );
    }

    #[test]
    fn the_standard_goes_before_b3_and_what_is_malformed_is_passed_over() {
        let b3 = ("b3", format!("{TRACE}-{SPAN}-1"));
        let other = format!("00-{}-{SPAN}-01", "1".repeat(32));
        assert_eq!(
            of(&[("traceparent", other), b3.clone()]).unwrap().trace_id,
            "1".repeat(32)
        );
        for bad in [
            String::new(),
            "00".into(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{}-{SPAN}-01", TRACE.to_ascii_uppercase()),
            format!("00-{}g-{SPAN}-01", &TRACE[1..]),
            format!("00-{TRACE}-{SPAN}-+1"),
        ] {
            assert_eq!(of(&[("traceparent", bad.clone()), b3.clone()]), trace(true), "{bad}");
            assert_eq!(of(&[("traceparent", bad)]), None);
        }
        assert_eq!(of(&[("b3", "0".into())]), None);
        assert_eq!(of(&[("x-b3-traceid", TRACE.into())]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_headers_never_panic(text in r"\PC{0,80}") {
            let _ = (Trace::of_w3c(&text), Trace::of_b3(&text));
        }
    }
}
