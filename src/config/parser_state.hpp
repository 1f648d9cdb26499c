// The parser's inside: one recursive descent over the tokens, split over parser*.cpp by subject. A fatal
// error makes every further token the end of the file and silences what would be said about that, so that the
// descent unwinds by itself; errors that are merely collected go on.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/keywords.hpp"
#include "config/lexer.hpp"
#include "config/loader.hpp"
#include "config/model.hpp"
#include "config/parser.hpp"
#include "config/unique_names.hpp"

namespace duplex::config {

class Parser {
  public:
    Parser(Loader* loader, bool running) : loader_(loader), running_(running) {}

    void parse_file(const SourceFile& source, std::string_view display_name, int first_line);
    void parse_running_resource(std::string_view text, std::string_view display_name);
    int last_line() const { return last_line_; }
    ParseResult finish();

  private:
    // Form 1 of a syntax error is the plain one, form 2 has the token's number (cli 9.1).
    enum class Form : bool { plain, numbered };

    // --- parser.cpp: tokens, messages, top level ---
    Token next();
    void put_back(Token token);
    Token expect(char punctuation);
    Token expect_string();
    Token expect_integer();
    Token expect_keyword(std::string_view word);
    void fail(std::string message, int exit_status = exit_invalid);
    void fail_expected(std::string_view expected, const Token& got, Form form);
    void fail_not_string(std::string_view expected, const Token& got);
    void invalid(std::string message);
    void invalid_at(int line, std::string_view message);
    void claim(std::string_view kind, const std::string& key, int line);

    void parse_config();
    void parse_global();
    void parse_global_number(const Token& statement);
    void parse_skip();
    void parse_include();
    void include_file(std::string_view name, const Token& statement);

    // --- parser_sections.cpp: option sections ---
    void parse_options(OptionGroup group, OptionList& list);
    bool parse_option(OptionGroup group, const Token& name, OptionList& list);
    void parse_syncer(Sections& sections);
    void parse_startup(Sections& sections);
    void parse_proxy_options(OptionList& list, std::vector<std::string>& plugins);
    void parse_plugins(std::vector<std::string>& plugins);
    std::string parse_option_value(const Option* option);
    std::string parse_flag_value(std::string_view expected);
    std::vector<std::string> parse_names(char end, std::string_view expected_later);
    void check_value(const Option& option, const Token& value);
    OptionList& list_of(Sections& sections, OptionGroup group);

    // --- parser_resource.cpp: resources, hosts, volumes, addresses ---
    struct Body {           // what the statements of a resource or host body apply to
        std::string label;  // "r0" or "r0:alpha": prefix of the keys that may be used once
        Volumes* volumes;
        const Host* host;  // nullptr at resource level
    };
    void parse_common(int line);
    void parse_resource();
    void parse_resource_body(Sections& sections, Resource& resource, bool common);
    bool parse_section(const Token& word, Sections& sections, const std::string& label);
    void parse_on(Resource& resource, int line);
    void parse_floating(Resource& resource, int line);
    void parse_stacked(Resource& resource, int line);
    void parse_running_host(Resource& resource, HostKind kind, int line);
    void parse_host_body(Resource& resource, Host& host);
    void parse_stacked_body(Host& host, const std::string& label);
    bool parse_implicit_volume(const Token& word, const Body& body);
    void parse_volume(const Body& body);
    void parse_device(Volume& volume, const Token& statement);
    void parse_disk(Volume& volume);
    void parse_meta_disk(Volume& volume, bool flexible);
    void parse_proxy_host(Host& host);
    Address parse_address(const Token& statement);
    void claim_address(const Address& address, const Host& host);
    void claim_device(const Volume& volume, const Host& host, int line);
    Volume& implicit_volume(const Body& body, int line);
    void finish_host(Resource& resource, Host& host);
    void inherit_volumes(const Resource& resource, Host& host);
    void check_host_complete(const Resource& resource, const Host& host);
    void check_volumes_match(const Resource& resource);
    void resolve_stacked();
    void fill_from_lower(const Resource& resource, Host& host);

    Loader* loader_;
    bool running_;  // the text is what drbdsetup show printed
    Config config_;
    Report report_;
    UniqueNames unique_names_;
    std::set<std::string> files_read_;
    bool failed_ = false;

    // The file being read.
    std::string file_;
    std::string absolute_file_;
    std::string directory_;
    Lexer lexer_{""};
    std::vector<Token> put_back_;
    int last_line_ = 1;
    int section_start_ = 0;  // where the option or host section opened last began
};

}  // namespace duplex::config
