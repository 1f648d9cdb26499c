#include "control/node.hpp"

#include <algorithm>
#include <chrono>
#include <poll.h>

#include "control/client.hpp"
#include "control/minor_claim.hpp"

namespace duplex::control {
namespace {

struct Asked {
    std::string name;
    Client client;
    Client::Progress progress = Client::Progress::waiting;
};

std::vector<Asked> ask(const RunDir& run_dir, NodeStatus& node) {
    std::vector<Asked> asked;
    for (std::string& name : run_dir.resources()) {
        ConnectFailure failure;
        std::optional<Client> client = Client::connect(run_dir, name, failure);
        if (!client) {
            // Absence::none: it has ended between our look and our call.
            if (failure.absence != Absence::none) {
                node.silent.push_back(
                    {std::move(name), std::move(failure.text), failure.absence == Absence::dead});
            }
        } else if (Status sent = client->request_status(); !sent) {
            node.silent.push_back({std::move(name), sent.error().text, false});
        } else {
            asked.push_back({std::move(name), std::move(*client)});
        }
    }
    return asked;
}

void wait_for_answers(std::vector<Asked>& asked, int timeout_ms) {
    using Clock = std::chrono::steady_clock;
    const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
    std::vector<pollfd> waiting;
    for (;;) {
        waiting.clear();
        for (Asked& one : asked) {
            if (one.progress == Client::Progress::waiting) one.progress = one.client.read_some();
            if (one.progress == Client::Progress::waiting) waiting.push_back({one.client.fd(), POLLIN, 0});
        }
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
        if (waiting.empty() || left <= 0) return;
        poll(waiting.data(), waiting.size(), static_cast<int>(left));
    }
}

}  // namespace

NodeStatus ask_all(const RunDir& run_dir, int timeout_ms) {
    NodeStatus node;
    std::vector<Asked> asked = ask(run_dir, node);
    wait_for_answers(asked, timeout_ms);
    for (Asked& one : asked) {
        if (one.progress == Client::Progress::failed) {
            node.silent.push_back(
                {one.name, fmt::format("the process of resource {} ended", one.name), true});
            continue;
        }
        Result<engine::ResourceStatus> status = one.client.take_status();
        if (status) {
            node.resources.push_back(std::move(*status));
        } else {
            node.silent.push_back({one.name, status.error().text, false});
        }
    }
    return node;
}

std::string proc_text_of(const RunDir& run_dir, int timeout_ms) {
    const NodeStatus node = ask_all(run_dir, timeout_ms);
    std::vector<SilentMinor> minors;
    for (const SilentResource& resource : node.silent) {
        const auto claimed =
            resource.dead ? minors_left_by(run_dir, resource.name) : minors_of(run_dir, resource.name);
        for (const unsigned minor : claimed) minors.push_back({minor, resource.name, resource.dead});
    }
    return proc_text(node.resources, minors);
}

}  // namespace duplex::control
