#include "tests/bench/run_cases.h"

#include <fnmatch.h>
#include <getopt.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tests/bench/machine.h"

namespace shunt::bench {
namespace {

double percentile(std::vector<double> values, double part) {
    std::ranges::sort(values);
    return values[static_cast<std::size_t>(part * static_cast<double>(values.size() - 1) + 0.5)];
}

double rounded(double value) { return std::round(value * 1000) / 1000; }

const char* name_of(Unit unit) {
    return unit == Unit::cycles_per_packet ? "cycles_per_packet" : unit == Unit::ms ? "ms" : "bytes";
}

nlohmann::json empty_result(const Case& c) {
    return {{"name", c.name},         {"unit", name_of(c.unit)}, {"value", nullptr},  {"cycles_per_packet", nullptr},
            {"floor", nullptr},       {"ratio", nullptr},        {"spread", nullptr}, {"runs", 0},
            {"above_floor", nullptr}, {"skipped", nullptr}};
}

nlohmann::json summary(const Case& c, const std::vector<Sample>& samples) {
    std::vector<double> values, floors, ratios, above;
    for (const Sample& s : samples) {
        values.push_back(s.value);
        if (!s.floor) continue;
        floors.push_back(*s.floor);
        ratios.push_back(s.value / *s.floor);
        above.push_back(s.value - *s.floor);
    }
    const double median = percentile(values, 0.5);
    nlohmann::json result = empty_result(c);
    result["value"] = rounded(median);
    result["spread"] = rounded((percentile(values, 0.9) - percentile(values, 0.1)) / median);
    result["runs"] = values.size();
    if (c.unit == Unit::cycles_per_packet) result["cycles_per_packet"] = result["value"];
    if (!floors.empty()) {
        result["floor"] = rounded(percentile(floors, 0.5));
        result["ratio"] = rounded(percentile(ratios, 0.5));
        result["above_floor"] = rounded(percentile(above, 0.5));
    }
    return result;
}

nlohmann::json result_of(const Case& c, const Plan& plan) {
    try {
        return summary(c, c.measure(plan));
    } catch (const CannotRun& why) {
        nlohmann::json result = empty_result(c);
        result["skipped"] = why.what();
        return result;
    } catch (const std::exception& error) {
        throw std::runtime_error(c.name + ": " + error.what());
    }
}

void keep_those_like(std::vector<Case>& cases, const std::vector<std::string>& patterns) {
    std::erase_if(cases, [&](const Case& c) {
        return !patterns.empty() && std::ranges::none_of(patterns, [&](const std::string& pattern) {
            return fnmatch(pattern.c_str(), c.name.c_str(), 0) == 0;
        });
    });
}

void announce(std::size_t number, std::size_t count, const std::string& name) {
    if (isatty(STDERR_FILENO)) std::fprintf(stderr, "\r\033[K%zu/%zu %s", number, count, name.c_str());
}

void report(const nlohmann::json& result) {
    const auto number = [&](const char* key) { return result[key].is_null() ? 0 : result[key].get<double>(); };
    std::fprintf(stderr, "%s%-28s %10.2f %s", isatty(STDERR_FILENO) ? "\r\033[K" : "",
                 result["name"].get<std::string>().c_str(), number("value"), result["unit"].get<std::string>().c_str());
    if (!result["floor"].is_null()) std::fprintf(stderr, ", floor %.2f", number("floor"));
    if (!result["skipped"].is_null()) std::fprintf(stderr, ": %s", result["skipped"].get<std::string>().c_str());
    std::fputc('\n', stderr);
}

int measure(const std::vector<Case>& cases, const Plan& plan) {
    if (cases.empty()) {
        std::fputs("bench: no case is named so; --list names all\n", stderr);
        return 2;
    }
    nlohmann::json document{{"machine", machine()}, {"cases", nlohmann::json::array()}};
    for (const Case& c : cases) {
        announce(document["cases"].size() + 1, cases.size(), c.name);
        document["cases"].push_back(result_of(c, plan));
        report(document["cases"].back());
    }
    std::puts(document.dump(1).c_str());
    return 0;
}

constexpr const char* usage = R"(options: [--case PATTERN]... [--runs N | --count N] [--list]
  --case PATTERN  only cases whose name matches this shell pattern
  --runs N        runs of each case of packets
  --count N       instead of runs: N bursts of each in measured_run(), for a simulator to count
  --list          only names the cases
)";

struct Options {
    std::vector<std::string> patterns{};
    Plan plan{};
    bool list{};
};

std::optional<Options> options_of(int argc, char** argv) {
    constexpr option known[] = {{"case", required_argument, nullptr, 'c'},
                                {"runs", required_argument, nullptr, 'r'},
                                {"count", required_argument, nullptr, 'n'},
                                {"list", no_argument, nullptr, 'l'},
                                {}};
    Options options;
    for (int got = 0; (got = getopt_long(argc, argv, "", known, nullptr)) != -1;) {
        if (got == 'c') options.patterns.emplace_back(optarg);
        if (got == 'r') options.plan.runs = static_cast<std::uint32_t>(std::strtoul(optarg, nullptr, 10));
        if (got == 'n') options.plan.counted_bursts = static_cast<std::uint32_t>(std::strtoul(optarg, nullptr, 10));
        if (got == 'l') options.list = true;
        if (got == '?') return std::nullopt;
    }
    if (options.plan.runs == 0 || optind != argc) return std::nullopt;
    return options;
}

}  // namespace

int run_cases(int argc, char** argv, std::vector<Case> cases) {
    const auto options = options_of(argc, argv);
    if (!options) {
        std::fputs(usage, stderr);
        return 2;
    }
    keep_those_like(cases, options->patterns);
    try {
        if (!options->list) return measure(cases, options->plan);
        for (const Case& c : cases) std::puts(c.name.c_str());
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench: %s\n", error.what());
        return 3;
    }
}

}  // namespace shunt::bench
