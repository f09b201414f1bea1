/*
 * A small Elasticsearch plugin with a field type named "version": a stand-in, for tests only, for the type of that name that
 * the vendor's full distribution has and the bundles that the script `elasticsearch` unpacks lack. Written from the public
 * reference page "Version field type" and from semver.org; runs on 8.19.13 and 9.4.3.
 *
 * What it does: it accepts any string. Valid versions (semver, with any number of numeric parts) come in semver order: parts as
 * numbers, fewer parts before more, a pre-release before its release. All other strings come after them, alphabetically, the
 * empty one first. Term, terms, match, range, exists, prefix, wildcard, regexp and fuzzy queries and query_string; sort,
 * search_after, collapse, terms, composite and the other aggregations of keywords; fields, docvalue_fields, scripts,
 * multi-fields, copy_to, arrays, index sort. All of them show the original string. The only parameter is "meta".
 *
 * What it does not do: ES|QL, SQL, the terms-enum API, search.allow_expensive_queries, special script methods (a script sees a
 * keyword field). Not tried: highlighting, synthetic _source. Build metadata ("+b1") is not ignored: versions that differ in
 * nothing else come in alphabetical order, so "lte": "1.0.0" leaves out "1.0.0+b1". Strings of more than about 10,000 characters
 * are refused (400), on 8.19 also range bounds of several hundred. The index files are not the vendor's: do not open with one
 * type what was written with the other.
 *
 * A line that ends in a comment "N.x" is only for that major version of the server; _elasticsearch.py picks them before javac.
 */
package tallystick.versionfield;

import java.io.IOException;
import java.time.ZoneId;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import org.apache.lucene.document.Field;
import org.apache.lucene.document.FieldType;
import org.apache.lucene.index.DocValuesType;
import org.apache.lucene.index.FilteredTermsEnum;
import org.apache.lucene.index.IndexOptions;
import org.apache.lucene.index.SortedSetDocValues;
import org.apache.lucene.index.Term;
import org.apache.lucene.index.Terms;
import org.apache.lucene.index.TermsEnum;
import org.apache.lucene.search.FuzzyQuery;
import org.apache.lucene.search.MultiTermQuery;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.QueryVisitor;
import org.apache.lucene.search.SortField;
import org.apache.lucene.search.TermRangeQuery;
import org.apache.lucene.search.WildcardQuery;
import org.apache.lucene.util.AttributeSource;
import org.apache.lucene.util.BytesRef;
import org.apache.lucene.util.automaton.Automaton;
import org.apache.lucene.util.automaton.ByteRunAutomaton;
import org.apache.lucene.util.automaton.CharacterRunAutomaton;
import org.apache.lucene.util.automaton.Operations;
import org.apache.lucene.util.automaton.RegExp;
import org.elasticsearch.common.io.stream.NamedWriteableRegistry;
import org.elasticsearch.common.io.stream.StreamOutput;
import org.elasticsearch.common.lucene.BytesRefs;
import org.elasticsearch.common.lucene.search.AutomatonQueries;
import org.elasticsearch.common.unit.Fuzziness;
import org.elasticsearch.index.fielddata.FieldData;
import org.elasticsearch.index.fielddata.FieldDataContext;
import org.elasticsearch.index.fielddata.IndexFieldData;
import org.elasticsearch.index.fielddata.IndexFieldData.XFieldComparatorSource;
import org.elasticsearch.index.fielddata.SortedBinaryDocValues;
import org.elasticsearch.index.fielddata.plain.SortedSetOrdinalsIndexFieldData;
import org.elasticsearch.index.mapper.DocumentParserContext;
import org.elasticsearch.index.mapper.FieldMapper;
import org.elasticsearch.index.mapper.IndexType;                                                                      // 9.x
import org.elasticsearch.index.mapper.Mapper;
import org.elasticsearch.index.mapper.MapperBuilderContext;
import org.elasticsearch.index.mapper.SourceValueFetcher;
import org.elasticsearch.index.mapper.TermBasedFieldType;
import org.elasticsearch.index.mapper.TextSearchInfo;
import org.elasticsearch.index.mapper.ValueFetcher;
import org.elasticsearch.index.query.SearchExecutionContext;
import org.elasticsearch.plugins.MapperPlugin;
import org.elasticsearch.plugins.Plugin;
import org.elasticsearch.script.field.KeywordDocValuesField;
import org.elasticsearch.script.field.ToScriptFieldFactory;
import org.elasticsearch.search.DocValueFormat;
import org.elasticsearch.search.MultiValueMode;
import org.elasticsearch.search.aggregations.support.CoreValuesSourceType;

public class VersionFieldPlugin extends Plugin implements MapperPlugin {
    static final String NAME = "version";

    @Override
    public Map<String, Mapper.TypeParser> getMappers() {
        return Map.of(NAME, new FieldMapper.TypeParser((name, context) -> new VersionBuilder(name)));
    }

    @Override
    public List<NamedWriteableRegistry.Entry> getNamedWriteables() {
        return List.of(new NamedWriteableRegistry.Entry(DocValueFormat.class, NAME, in -> FORMAT));
    }

    // --- the order -----------------------------------------------------------------------------------------------------
    // A term in the index is a sort key, a zero byte and the original string. The UTF-8 bytes of terms have the order of
    // their characters, and no key holds a zero, so a key that is the beginning of another comes first.

    static BytesRef term(Object value) {
        String version = BytesRefs.toString(value);
        return new BytesRef(sortKey(version) + '\0' + version);
    }

    static String original(BytesRef term) {
        String text = term.utf8ToString();
        return text.substring(text.indexOf('\0') + 1);
    }

    /** 1, the numeric parts with 3 between them, then 1 and the pre-release or else 2; for an invalid version only 2. */
    static String sortKey(String version) {
        String[] build = version.split("\\+", 2), release = build[0].split("-", 2);
        String[] parts = release[0].split("\\.", -1), labels = release.length == 1 ? null : release[1].split("\\.", -1);
        boolean valid = Arrays.stream(parts).allMatch(part -> part.matches("0|[1-9][0-9]*"))
            && (labels == null || Arrays.stream(labels).allMatch(label -> label.matches("(?!0[0-9]+$)[0-9A-Za-z-]+")))
            && (build.length == 1 || Arrays.stream(build[1].split("\\.", -1)).allMatch(label -> label.matches("[0-9A-Za-z-]+")));
        if (valid == false) {
            return "\2";
        }
        StringBuilder key = new StringBuilder("\1").append(number(parts[0]));
        Arrays.stream(parts).skip(1).forEach(part -> key.append('\3').append(number(part)));
        if (labels == null) {
            return key.append('\2').toString();
        }
        key.append('\1');
        for (String label : labels) {   // numeric ones first; of two others the shorter ends in a 0, 1 or 2, less than any letter
            key.append(label.matches("[0-9]+") ? '\1' + number(label) : '\2' + label);
        }
        return key.toString();
    }

    /** Of numbers without leading zeros the one with more digits is the greater. */
    private static String number(String digits) {
        return (char) digits.length() + digits;
    }

    static final DocValueFormat FORMAT = new DocValueFormat() {
        @Override
        public String getWriteableName() {
            return NAME;
        }

        @Override
        public void writeTo(StreamOutput out) {}

        @Override
        public Object format(BytesRef term) {
            return original(term);
        }

        @Override
        public BytesRef parseBytesRef(Object value) {
            return term(value);
        }
    };

    // --- the mapping and indexing --------------------------------------------------------------------------------------
    static final class VersionBuilder extends FieldMapper.Builder {
        private final FieldMapper.Parameter<Map<String, String>> meta = FieldMapper.Parameter.metaParam();

        VersionBuilder(String name) {
            super(name);
        }

        @Override
        protected FieldMapper.Parameter<?>[] getParameters() {
            return new FieldMapper.Parameter<?>[] { meta };
        }

        public String contentType() {
            return NAME;
        }

        @Override
        public FieldMapper build(MapperBuilderContext context) {
            VersionFieldType type = new VersionFieldType(context.buildFullName(leafName()), meta.getValue());
            return new VersionFieldMapper(leafName(), type, builderParams(this, context));
        }
    }

    static final class VersionFieldMapper extends FieldMapper {
        private static final FieldType LUCENE_TYPE = new FieldType();
        static {
            LUCENE_TYPE.setTokenized(false);
            LUCENE_TYPE.setOmitNorms(true);
            LUCENE_TYPE.setIndexOptions(IndexOptions.DOCS);
            LUCENE_TYPE.setDocValuesType(DocValuesType.SORTED_SET);
            LUCENE_TYPE.freeze();
        }

        VersionFieldMapper(String name, VersionFieldType type, BuilderParams params) {
            super(name, type, params);
        }

        @Override
        protected void parseCreateField(DocumentParserContext context) throws IOException {
            String version = context.parser().textOrNull();
            if (version != null) {
                context.doc().add(new Field(fullPath(), term(version), LUCENE_TYPE));
            }
        }

        @Override
        public FieldMapper.Builder getMergeBuilder() {
            return new VersionBuilder(leafName()).init(this);
        }

        @Override
        protected String contentType() {
            return NAME;
        }
    }

    // --- searching -----------------------------------------------------------------------------------------------------
    static final class VersionFieldType extends TermBasedFieldType {
        VersionFieldType(String name, Map<String, String> meta) {
            super(name, true, false, true, TextSearchInfo.SIMPLE_MATCH_ONLY, meta);                                   // 8.x
            super(name, IndexType.terms(true, true), false, TextSearchInfo.SIMPLE_MATCH_ONLY, meta);                  // 9.x
        }

        @Override
        public String typeName() {
            return NAME;
        }

        @Override
        protected BytesRef indexedValueForSearch(Object value) {
            return term(value);
        }

        @Override
        protected Query rangeQuery(Object from, Object to, boolean withFrom, boolean withTo, SearchExecutionContext context) {
            return new TermRangeQuery(name(), from == null ? null : term(from), to == null ? null : term(to), withFrom, withTo);
        }

        @Override
        public Query termQueryCaseInsensitive(Object value, SearchExecutionContext context) {
            String wanted = BytesRefs.toString(value);
            return new StringQuery(name(), "term/i " + wanted, wanted::equalsIgnoreCase);
        }

        @Override
        public Query prefixQuery(String value, MultiTermQuery.RewriteMethod method, boolean anyCase,
                                 SearchExecutionContext context) {
            return new StringQuery(name(), (anyCase ? "prefix/i " : "prefix ") + value,
                version -> version.regionMatches(anyCase, 0, value, 0, value.length()));
        }

        @Override
        public Query wildcardQuery(String value, MultiTermQuery.RewriteMethod method, boolean anyCase,
                                   SearchExecutionContext context) {
            Term pattern = new Term(name(), value);
            return new StringQuery(name(), (anyCase ? "wildcard/i " : "wildcard ") + value, accepts(anyCase
                ? AutomatonQueries.toCaseInsensitiveWildcardAutomaton(pattern) : new WildcardQuery(pattern).getAutomaton()));
        }

        @Override
        public Query normalizedWildcardQuery(String value, MultiTermQuery.RewriteMethod method, SearchExecutionContext context) {
            return wildcardQuery(value, method, false, context);     // what query_string asks
        }

        @Override
        public Query regexpQuery(String value, int syntax, int match, int states, MultiTermQuery.RewriteMethod method,
                                 SearchExecutionContext context) {
            return new StringQuery(name(), "regexp " + syntax + ' ' + match + ' ' + value,
                accepts(new RegExp(value, syntax, match).toAutomaton()));
        }

        @Override
        public Query fuzzyQuery(Object value, Fuzziness fuzziness, int prefix, int expansions, boolean transpositions,
                                SearchExecutionContext context, MultiTermQuery.RewriteMethod method) {
            String wanted = BytesRefs.toString(value);
            int edits = fuzziness.asDistance(wanted);
            ByteRunAutomaton near = FuzzyQuery.getFuzzyAutomaton(wanted, edits, prefix, transpositions).runAutomaton;
            return new StringQuery(name(), "fuzzy " + edits + ' ' + prefix + ' ' + transpositions + ' ' + wanted, version -> {
                BytesRef bytes = new BytesRef(version);
                return near == null ? version.equals(wanted) : near.run(bytes.bytes, bytes.offset, bytes.length);
            });
        }

        private static Predicate<String> accepts(Automaton automaton) {
            return new CharacterRunAutomaton(Operations.determinize(automaton, Operations.DEFAULT_DETERMINIZE_WORK_LIMIT))::run;
        }

        @Override
        public CollapseType collapseType() {
            return CollapseType.KEYWORD;
        }

        @Override
        public Object valueForDisplay(Object value) {
            return value instanceof BytesRef term ? original(term) : value;
        }

        @Override
        public DocValueFormat docValueFormat(String format, ZoneId zone) {
            checkNoFormat(format);
            checkNoTimeZone(zone);
            return FORMAT;
        }

        @Override
        public ValueFetcher valueFetcher(SearchExecutionContext context, String format) {
            return SourceValueFetcher.toString(name(), context, format);
        }

        @Override
        public IndexFieldData.Builder fielddataBuilder(FieldDataContext context) {
            ToScriptFieldFactory<SortedSetDocValues> script =
                (values, name) -> new KeywordDocValuesField(originals(FieldData.toString(values)), name);
            CoreValuesSourceType source = CoreValuesSourceType.KEYWORD;
            return (cache, breaker) -> new SortedSetOrdinalsIndexFieldData(cache, name(), source, breaker, script) {
                @Override
                public SortField sortField(Object missing, MultiValueMode mode, XFieldComparatorSource.Nested nested,
                                           boolean reverse) {
                    boolean version = missing != null && "_first".equals(missing) == false && "_last".equals(missing) == false;
                    return super.sortField(version ? term(missing).utf8ToString() : missing, mode, nested, reverse);
                }
            };
        }

        private static SortedBinaryDocValues originals(SortedBinaryDocValues terms) {
            return new SortedBinaryDocValues() {
                @Override
                public boolean advanceExact(int document) throws IOException {
                    return terms.advanceExact(document);
                }

                @Override
                public int docValueCount() {
                    return terms.docValueCount();
                }

                @Override
                public BytesRef nextValue() throws IOException {
                    return new BytesRef(original(terms.nextValue()));
                }
            };
        }
    }

    /** Finds the documents whose original string passes a test, by trying every term of the field. */
    static final class StringQuery extends MultiTermQuery {
        private final String description;   // says all about the test: two queries that describe themselves alike are equal
        private final Predicate<String> test;

        StringQuery(String field, String description, Predicate<String> test) {
            super(field, CONSTANT_SCORE_REWRITE);
            this.description = description;
            this.test = test;
        }

        @Override
        protected TermsEnum getTermsEnum(Terms terms, AttributeSource attributes) throws IOException {
            return new FilteredTermsEnum(terms.iterator(), false) {
                @Override
                protected AcceptStatus accept(BytesRef term) {
                    return test.test(original(term)) ? AcceptStatus.YES : AcceptStatus.NO;
                }
            };
        }

        @Override
        public void visit(QueryVisitor visitor) {
            if (visitor.acceptField(getField())) {
                visitor.visitLeaf(this);
            }
        }

        @Override
        public String toString(String field) {
            return getField() + ": " + description;
        }

        @Override
        public boolean equals(Object other) {
            return super.equals(other) && description.equals(((StringQuery) other).description);
        }

        @Override
        public int hashCode() {
            return 31 * super.hashCode() + description.hashCode();
        }
    }
}
