#include "controlplane/server/flows.h"

#include <memory>
#include <utility>

namespace shunt::controlplane {
namespace {

Json filter_json(const FlowQuestion& question) { return question.text.empty() ? Json(nullptr) : Json(question.text); }

// Scans with a result that grows: visit(result, flow, tables) for each flow, finish(result, documents) makes the
// answer.
template <class Found, class Visit, class Finish>
void ask(FlowScans& scans, const FlowQuestion& question, Found first, Visit visit, Finish finish, FlowAnswer answer) {
    auto found = std::make_shared<Found>(std::move(first));
    scans.start(
        question.filter,
        [found, visit](const shm::Flow& flow, const shm::Tables& tables) { visit(*found, flow, tables); },
        [found, finish, answer = std::move(answer)](const Status& status, const Documents& documents) {
            answer(status ? Result<Json>(finish(*found, documents)) : Result<Json>(status.error()));
        });
}

}  // namespace

void list_flows(FlowScans& scans, const FlowQuestion& question, std::size_t limit, FlowAnswer answer) {
    struct Found {
        Json list = Json::array();
        std::uint64_t total{};
    };
    const auto visit = [limit](Found& found, const shm::Flow& flow, const shm::Tables& tables) {
        if (found.total++ < limit) found.list.push_back(api::to_json(flow, tables));
    };
    const auto finish = [filter = filter_json(question)](Found& found, const Documents&) {
        const std::size_t listed = found.list.size();
        return Json{{"filter", filter}, {"flows", std::move(found.list)}, {"listed", listed}, {"total", found.total}};
    };
    ask(scans, question, Found{}, visit, finish, std::move(answer));
}

void count_flows(FlowScans& scans, const FlowQuestion& question, std::optional<api::FlowCounts::By> by,
                 FlowAnswer answer) {
    struct Found {
        api::FlowCounts counts;
        std::uint64_t total{};
    };
    const auto visit = [by](Found& found, const shm::Flow& flow, const shm::Tables&) {
        ++found.total;
        if (by) found.counts.add(flow);
    };
    const auto finish = [by, filter = filter_json(question)](const Found& found, const Documents& documents) {
        return Json{{"filter", filter},
                    {"total", found.total},
                    {"by", by ? Json(api::FlowCounts::word(*by)) : Json(nullptr)},
                    {"counts", found.counts.to_json(documents.tables)}};
    };
    ask(scans, question, Found{api::FlowCounts(by.value_or(api::FlowCounts::By::service))}, visit, finish,
        std::move(answer));
}

void preview_kill(FlowScans& scans, const FlowQuestion& question, FlowAnswer answer) {
    const auto visit = [](std::uint64_t& total, const shm::Flow&, const shm::Tables&) { ++total; };
    const auto finish = [text = question.text](std::uint64_t total, const Documents& documents) {
        return to_json(KillReply{.filter = text, .dry_run = true, .flows = total}, documents.core);
    };
    ask(scans, question, std::uint64_t{}, visit, finish, std::move(answer));
}

Json to_json(const KillReply& reply, const Core& core) {
    const Progress progress = core.progress();
    ChangeReply change{.changed = reply.flows != 0 || reply.timed_out,
                       .dry_run = reply.dry_run,
                       .generation = progress.published,
                       .workers = passed(progress, progress.published),
                       .timed_out = reply.timed_out,
                       .revision = core.wanted().revision};
    const std::string flows = std::to_string(reply.flows) + (reply.flows == 1 ? " flow" : " flows");
    if (reply.flows != 0) change.changes.push_back({config::ChangeKind::remove, "flows " + reply.filter, flows, {}});
    Json json = to_json(change);
    json["flows"] = reply.timed_out ? Json(nullptr) : Json(reply.flows);
    json["text"] = reply.timed_out ? "timed out, the workers go on" : flows + (reply.dry_run ? "" : " killed");
    return json;
}

}  // namespace shunt::controlplane
