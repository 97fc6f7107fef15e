//! Memory, processor time and file descriptors of this process, from `/proc`. On systems without it, there are none.

/// Refreshes the metrics.
#[cfg(target_os = "linux")]
pub(super) fn refresh() {
    if let Err(error) = linux::refresh() {
        tracing::debug!(%error, "the metrics of the process cannot be read");
    }
}

/// Refreshes the metrics.
#[cfg(not(target_os = "linux"))]
pub(super) fn refresh() {}

#[cfg(target_os = "linux")]
mod linux {
    use procfs::process::{LimitValue, Process};
    use procfs::{ProcResult, boot_time_secs, page_size, ticks_per_second};

    use crate::domain::metric;

    pub(super) fn refresh() -> ProcResult<()> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let ticks = ticks_per_second();
        metrics::counter!(metric::PROCESS_CPU_SECONDS.name).absolute((stat.utime + stat.stime) / ticks);
        let started = boot_time_secs()? + stat.starttime / ticks;
        metrics::gauge!(metric::PROCESS_START_TIME.name).set(number(started));
        metrics::gauge!(metric::PROCESS_RESIDENT_MEMORY.name).set(number(stat.rss * page_size()));
        metrics::gauge!(metric::PROCESS_THREADS.name).set(number(stat.num_threads.unsigned_abs()));
        metrics::gauge!(metric::PROCESS_OPEN_FDS.name).set(number(process.fd_count()? as u64));
        let most = match process.limits()?.max_open_files.soft_limit {
            LimitValue::Value(most) => number(most),
            LimitValue::Unlimited => f64::INFINITY,
        };
        metrics::gauge!(metric::PROCESS_MAX_FDS.name).set(most);
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    fn number(count: u64) -> f64 {
        count as f64
    }
}
