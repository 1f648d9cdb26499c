#include "tools/drbdmeta/program.hpp"

#include <array>
#include <cstdio>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace duplex::drbdmeta {

Answer run_program(std::initializer_list<std::string> words) {
    std::vector<std::string> copies(words);
    std::vector<char*> argv;
    argv.reserve(copies.size() + 1);
    for (std::string& word : copies) argv.push_back(word.data());
    argv.push_back(nullptr);
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return {};
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execvp(argv[0], argv.data());
        _exit(127);
    }
    close(ends[1]);
    Answer answer;
    std::array<char, 4096> chunk{};
    ssize_t got = 0;
    while (child > 0 && (got = read(ends[0], chunk.data(), chunk.size())) > 0)
        answer.text.append(chunk.data(), static_cast<size_t>(got));
    close(ends[0]);
    int status = 0;
    if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status))
        answer.exit_code = WEXITSTATUS(status);
    return answer;
}

}  // namespace duplex::drbdmeta
