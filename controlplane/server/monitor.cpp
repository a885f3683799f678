#include "controlplane/server/monitor.h"

#include "controlplane/server/metrics.h"

namespace shunt::controlplane {
namespace {

constexpr const char* plain = "text/plain; charset=utf-8";
constexpr const char* prometheus_text = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace

HttpResponse Monitor::error_page(unsigned status, const std::string& sentence) {
    return {.status = status, .body = sentence + "\n", .content_type = plain};
}

void Monitor::handle(const HttpRequest& request, const HttpReply& reply) { reply(answer(request)); }

HttpResponse Monitor::answer(const HttpRequest& request) {
    const std::string path = request.path.size() == 1 ? request.path.front() : "";
    if (path != "healthz" && path != "readyz" && path != "metrics") {
        return error_page(404, "here are /healthz, /readyz and /metrics");
    }
    if (request.method != "GET") {
        HttpResponse response = error_page(405, "nothing can be changed here, only read");
        response.allow = "GET";
        return response;
    }
    if (path == "readyz") return readiness();
    if (path == "metrics") return {.body = metrics(), .content_type = prometheus_text};
    return {.body = "ok\n", .content_type = plain};
}

HttpResponse Monitor::readiness() const {
    const Documents documents = documents_();
    std::string reasons;
    for (const std::string& reason : documents.facts.ha->reasons_against()) reasons += reason + "\n";
    if (reasons.empty()) return {.body = "ready\n", .content_type = plain};
    return {.status = 503, .body = "not ready\n" + reasons, .content_type = plain};
}

const std::string& Monitor::metrics() {
    const Documents documents = documents_();
    if (!metrics_made_ || documents.now.instant - *metrics_made_ > metrics_age) {
        metrics_ = Metrics(documents).text();
        metrics_made_ = documents.now.instant;
    }
    return metrics_;
}

}  // namespace shunt::controlplane
